"""Verifiers: radii proved without sampling, one file each, named like its declaration in `rsctl.catalog.verifiers`.

A module has one function,

    prepare(model, parameters, *, shape, norm, radii, precision) -> Prover

with `model` the base classifier in eval mode, `nn.Sequential(Normalize, network)`: images in [0, 1]
space to logits; `parameters` the verifier's own, as declared; `radii` those that must be settled, empty for "the
largest that can be proved". It raises `InputError` for a layer that it can't bound, naming it and what is
supported. What the prover proves is about `Prover.executed`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn


@dataclass
class Verdicts:
    """Results of a verifier, or of an attack, which proves nothing, for N images; distances in the verifier's norm and in units of [0, 1] pixels."""

    predicted: Tensor
    """(N,) int64: the class that the executed function gives the image, as it is."""
    radius: Tensor
    """(N,) float64: within it no image of [0, 1] pixels is classified otherwise; 0 where nothing is proved, inf where
    the class never changes. Rounded as the declaration says."""
    broken: Tensor
    """(N,) float64: distance of an image that is classified otherwise, checked by running the function on it; inf where
    none is known. Between `radius` and `broken` nothing is known."""
    counterexample: Tensor | None = None
    """(N, channels, size, size) float32: that image, where `broken` is finite and the verifier keeps it."""


class Prover(Protocol):
    """A verifier made ready for one model."""

    executed: nn.Module
    """The function that the proof is about: what `predict` runs."""
    batch: int
    """Images per call: always exactly so many. An image's verdict must not depend on the others."""

    def verify(self, images: Tensor, labels: Tensor) -> Verdicts:
        """Prove radii of `images` (N, channels, size, size) float32 in [0, 1] with their true `labels` (N,) int64.

        An image whose prediction isn't its label may be given radius 0 without work: it counts in no table.
        """
        ...
