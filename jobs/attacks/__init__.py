"""Attacks: searches for adversarial images, one file each, named like its declaration in `rsctl.catalog.attacks`.

A module has one function,

    prepare(classify, parameters, *, norm, generator) -> Attacker

with `classify` what is attacked: images (N, channels, size, size) float32 in [0, 1] to scores (N, classes) with
gradients, the base model's logits or the smoothed model's log-probabilities; a new call may draw new noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


@dataclass
class Found:
    """What a search found for N images."""

    distance: Tensor
    """(N,) float64: of the nearest image in [0, 1] that was classified wrongly, in the attack's norm and in units of
    [0, 1] pixels; 0 where the image itself is, inf where none was found."""
    image: Tensor
    """(N, channels, size, size) float32: that image; the unchanged one where none was found."""


class Attacker(Protocol):
    """An attack made ready for one model."""

    def search(self, images: Tensor, labels: Tensor) -> Found:
        """Look for the nearest image that isn't classified as its label, for each of N images."""
        ...
