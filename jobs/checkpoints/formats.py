"""Published checkpoints: contents of a file, its layout, and the metadata it states.

A file of weights doesn't say what was done to the images before the first convolution, and the wrong answer is what is
reported most often of pretrained smoothed classifiers. So the layout is recognised and named, the normalisation is taken from
the file where it stores one and assumed aloud where it doesn't, and `jobs.checkpoints.judge` classifies some hundred images before
anything is sampled.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from jobs.checkpoints.layer_names import canonical
from jobs.checkpoints.not_checkpoints import problem_of
from jobs.checkpoints.parts import (
    WRAPPINGS,
    Found,
    Part,
    dictionaries,
    parts_of,
    plain_values,
    unused_entries,
)
from jobs.checkpoints.refusals import cascade, is_pickle, pickled, quantised, unreadable
from jobs.checkpoints.stored_normalisation import Stored, stored_in
from jobs.tensors import load_tensors, unusable
from rsctl.catalog.weight_files import content, weights_file
from rsctl.errors import InputError, UserError, unknown

CLAIMS = ("best_prec1", "prec1", "best_acc1", "best_acc", "test_acc", "acc", "accuracy", "best_sa")
"""Keys under which checkpoints keep the accuracy that their authors measured: per cent, or a share."""


@dataclass(frozen=True)
class Held:
    """A file that was read."""

    file: Path
    sha256: str
    stored: Any
    dictionaries: Found
    parts: list[Part]
    """Every sub-tree that might be a network, in the order to try them."""

    @cached_property
    def values(self) -> dict[str, Any]:
        """Everything by its full name, for a normalisation may be stored anywhere."""
        return dict(plain_values(self.stored))

    def weights(
        self, part: Part, entries: Container[str] | None = None, name: Callable[[str], str] | None = None
    ) -> Weights:
        """The network of one part; of all its entries, or of those that an architecture has.

        `name` gives the architecture's name of an entry, in place of the names of public code.
        """
        stored = self.stored if isinstance(self.stored, Mapping) else {}
        origin = {name(key): key for key in part.weights} if name else canonical(part.weights)
        if entries is not None:
            origin = {new: old for new, old in origin.items() if new in entries}
        keys = [str(key) for key in stored]
        layout = f"{{{', '.join(keys[:8])}{', …' * (len(keys) > 8)}}}" if part.path else "a bare state dict"
        if len(part.path) > 1 or (part.path and part.path[0] not in WRAPPINGS):
            layout += f", of which '{'.'.join(part.path)}' is used,"
        layout += f" with keys '{part.prefix}…'" if part.prefix else " with keys without a prefix"
        used = set() if entries is None else {part.full(key) for key in origin.values()}
        kept = stored_in(self.values, part.name, used)
        assumed = _assumed(part.prefix, part.path[0] if part.path else "", part.weights, stored)
        said = stored.get("arch") or getattr(stored.get("args"), "arch", "") if part.path else ""
        return Weights(
            {new: part.weights[old] for new, old in origin.items()}, layout, str(said or ""),
            kept[0].text if kept else assumed[0], kept[0].why if kept else assumed[1],
            self.sha256, part, self, _claim(stored) if part.path else None, tuple(kept), origin,
        )  # fmt: skip


@dataclass(frozen=True)
class Weights:
    """A network that a file holds."""

    state_dict: dict[str, Tensor]
    """Weights of the bare network, without wrappers and without the counters of batch normalisation."""
    layout: str
    """Short description of the layout."""
    said: str
    """The architecture that the file names, or empty."""
    normalisation: str
    """Normalisation that belongs to this layout (`rsctl.catalog.checkpoints.NORMALISATIONS`)."""
    why: str
    sha256: str
    """Hex, of the file."""
    part: Part
    held: Held
    claim: tuple[str, float] | None = None
    """The clean accuracy that the file states, in [0, 1], and under which name."""
    stored: tuple[Stored, ...] = ()
    """The normalisations that the file itself stores, that of this network first."""
    origin: Mapping[str, str] = field(default_factory=dict)
    """Names in the state dict → those in the part of the file."""

    @property
    def left(self) -> list[str]:
        """Entries that lie beside it in the file and aren't used."""
        used = {self.part.full(key) for key in self.origin.values()}
        used |= {name for one in self.stored[:1] for name in one.names}
        return unused_entries(self.held.dictionaries, used)


def read_weights(file: Path, part: str = "") -> Weights:
    """The network that a checkpoint most likely holds; nothing in the file is run. `part` names the branch to take it from.

    The others that it may hold are tried by `jobs.checkpoints.recognise.fitting`.

    Raises
    ------
    InputError
        The file isn't there, isn't a checkpoint, needs more than weights to be read, or holds no weights.
    """
    path = weights_file(file)
    try:
        data = content(path)
    except OSError as error:
        raise InputError(f"{path}: can't be read ({error.strerror}).") from error
    stored = _loaded(path, data)
    if problem := unusable(stored):
        raise InputError(f"{path}: {problem}.")
    found = dictionaries(stored)
    if kind := next(
        (one.dtype for _, weights in found for one in weights.values() if one.is_quantized), None
    ):
        raise InputError(quantised(path, kind))
    for wrapping in WRAPPINGS if isinstance(stored, Mapping) and not part else ():
        several = stored.get(wrapping)
        if (
            isinstance(several, list)
            and len(several) > 1
            and all(isinstance(one, Mapping) for one in several)
        ):
            raise InputError(cascade(path, wrapping, len(several)))
    parts = parts_of(found)
    if part:
        names = dict.fromkeys(one.name for one in parts if one.name)
        parts = [one for one in parts if f"{one.name}.".startswith(part + ".")]
        if not parts:
            raise InputError(f"{path}: --part: {unknown('branch', part, list(names)[:40])}")
    if not parts or not any(one.dim() > 1 for one in parts[0].weights.values()):
        raise InputError(_no_weights(path, stored))
    held = Held(path, hashlib.sha256(data).hexdigest(), stored, found, parts)
    return held.weights(parts[0])


def _loaded(path: Path, data: bytes) -> Any:
    if said := problem_of(path, data):
        raise InputError(said)
    if is_pickle(data):
        raise InputError(pickled(path))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of formats, which are named below where they hinder
            return load_tensors(data)
    except UserError:
        raise
    except Exception as error:
        raise InputError(unreadable(path, error)) from error


def _no_weights(path: Path, stored: Any) -> str:
    if not isinstance(stored, (Mapping, list, tuple)):
        return f"{path}: holds a {type(stored).__name__}, not weights by name."
    names = [str(name) for name in stored] if isinstance(stored, Mapping) else [f"a list of {len(stored)}"]
    return (
        f"{path}: holds no weights by name. Searched {', '.join(WRAPPINGS)} and everything else; its keys are: "
        f"{', '.join(names[:8]) or '(nothing)'}{', …' * (len(names) > 8)}."
    )


def _claim(stored: Mapping[str, Any]) -> tuple[str, float] | None:
    """The accuracy a checkpoint states."""
    for name in CLAIMS:
        value = stored.get(name)
        if isinstance(value, np.generic) or (isinstance(value, Tensor) and value.numel() == 1):
            value = value.item()
        if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= 100:
            return name, value / 100 if value > 1 else float(value)
    return None


def _assumed(
    prefix: str, wrapping: str, weights: Mapping[str, Tensor], stored: Mapping[str, Any]
) -> tuple[str, str]:
    """The normalisation of a layout, and why."""
    if "1." in prefix:
        return (
            "dataset",
            "the keys leave the place of a layer in front of the network, which subtracts the mean and divides by the standard "
            "deviation in Cohen 2019 and its successors (some models of Salman 2019 only subtract the mean: 'centre')",
        )
    if wrapping == "net" and "acc" in stored:
        return (
            "dataset",
            "{net, acc, epoch} is what pytorch-cifar (kuangliu) and scripts made from it write, whose networks are trained on images "
            "normalised beforehand",
        )
    if wrapping == "net":
        return "none", "MACER's layout: its networks see images in [0, 1] as they are"
    if (
        "linear.weight" in weights
        and "layer3.0.bn1.weight" in weights
        and not any(".shortcut." in k for k in weights)
    ):
        return (
            "imagenet",
            "CIFAR ResNets with shortcuts without weights are published by pytorch_resnet_cifar10, which normalises images "
            "outside the network with ImageNet's values, on CIFAR too",
        )
    return (
        "dataset",
        "no layer in front of the network is stored: such networks are trained on images normalised beforehand",
    )
