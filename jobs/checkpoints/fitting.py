"""The network of a file, wherever it lies in it: found by the architectures that are declared, with what is left beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from jobs.checkpoints.formats import Weights
from jobs.checkpoints.parts import alike
from jobs.checkpoints.recognise import entries_of, library_names, recognise
from jobs.models.library import is_library, published_normalisation
from jobs.models.normalize import Values, named_as, same
from rsctl.catalog import find, known_models
from rsctl.catalog.declare import DataSet, DataShape
from rsctl.errors import InputError


@dataclass(frozen=True)
class Fit:
    """The network of a file, and its architecture."""

    weights: Weights
    model: str
    parameters: dict[str, Any]
    also: list[str]
    """Other branches of the file that the architecture fits, with other values."""

    @property
    def told(self) -> list[str]:
        """The entries that were left, a sentence each."""
        left, also = self.weights.left, " and ".join(f"'{name}'" for name in self.also)
        there = f"'{self.weights.part.name}'" if self.weights.part.name else "the root"
        said = [f"not used: {', '.join(left[:8])}{', …' * (len(left) > 8)}"] if left else []
        return said + [
            f"taken from {there}; {also} would fit as well (--part, in a sweep file method.part)"
        ] * bool(also)


def fitting(
    weights: Weights,
    dataset: DataSet,
    shape: DataShape,
    arch: str = "",
    given: Mapping[str, Any] | None = None,
) -> Fit:
    """The largest part of the file that a declared architecture fits; what `recognise` raises where none does."""
    own = library_names(arch, given or {}, dataset, shape) if arch and is_library(arch) else None
    if own:
        weights = weights.held.weights(weights.part, name=own)
    try:
        name, parameters = recognise(weights, dataset, shape, arch, given)
    except InputError as error:
        for part in weights.held.parts[1:]:
            other = weights.held.weights(part, name=own)
            try:
                name, parameters = recognise(other, dataset, shape, arch, given)
            except InputError:
                continue
            weights = other
            break
        else:
            raise error
    weights = weights.held.weights(weights.part, entries_of(name, parameters, dataset, shape), own)
    _finite(weights)
    # A name says more than its numbers, and is the same run.
    for reading in (one.text for one in weights.stored[:1]):
        weights = replace(weights, normalisation=named_as(reading, dataset, shape))
    stated = published_normalisation(name, parameters) if own and not weights.stored else None
    if stated and (shown := _in_channels(stated, shape.channels)):
        text = "/".join(",".join(str(np.float32(value)) for value in one) for one in shown)
        weights = replace(
            weights,
            normalisation=named_as(text, dataset, shape),
            why=f"{name} states it for this architecture",
        )
    if find("model", name, known_models()).pixels:
        weights = replace(weights, normalisation="none", why="the network normalises inside")
    return Fit(weights, name, parameters, _likewise(weights, name, parameters))


def _in_channels(shown: Values, channels: int) -> Values | None:
    """Mean and standard deviation for images of so many channels; None where those of a library's RGB images say nothing of them."""
    if len(shown[0]) == channels:
        return shown
    equal = len({*shown[0]}) == len({*shown[1]}) == 1
    return ((shown[0][0],) * channels, (shown[1][0],) * channels) if equal else None


def _likewise(weights: Weights, name: str, parameters: Mapping[str, Any]) -> list[str]:
    """Names of further parts with the entries of this one, none of them a copy or a piece of another."""
    own, wanted = weights.part, weights.origin
    chosen = [own]
    for part in weights.held.parts:
        has = {old: part.weights[old].shape for old in wanted.values() if old in part.weights}
        if len(has) == len(wanted) and all(own.weights[old].shape == size for old, size in has.items()):
            chosen += [] if any(alike(part, one, wanted.values()) for one in chosen) else [part]
    return [part.name for part in chosen[1:]]


def _finite(weights: Weights) -> None:
    for ours, theirs in weights.origin.items():
        values = weights.state_dict[ours]
        if values.is_floating_point() and (bad := int((~values.isfinite()).sum())):
            raise InputError(
                f"{weights.held.file}: {bad} of {values.numel()} values of {weights.part.full(theirs)} are NaN or infinite: its training diverged, or its "
                "numbers didn't fit the precision they were saved in. Take another checkpoint of it."
            )


def normalisation_for(
    weights: Weights, asked: str, dataset: DataSet, shape: DataShape, *, anyway: bool
) -> str:
    """The normalisation to use; `asked` is the user's, or empty. Raises InputError where the file stores another."""
    if not asked:
        return weights.normalisation
    readings = [(one, text) for one in weights.stored for text in one.texts]
    if anyway or not readings or any(same(text, asked, dataset, shape) for _, text in readings):
        return asked
    stored = readings[0][0]
    raise InputError(
        f"normalisation '{asked}' was requested, but the file stores another beside its network: {stored.text} "
        f"({', '.join(stored.names)}). Leave it out to use that one, or pass --anyway (in a sweep file method.anyway = true)."
    )
