"""Attacks: searches for adversarial images, one file each, named like its declaration in `rsctl.catalog.attacks`.

A module has one function,

    prepare(classify, parameters, *, norm, draw) -> Attacker

with `classify` what is attacked, the base model or the smoothed one (see `Classify`), `parameters` the attack's own as
declared (name → value), and `draw()` standard normal numbers in the shape of the images, each image's from a stream of
its own. `jobs.attacks.search` builds both, and has the last word about what was found.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

Classify = Callable[[Tensor], Tensor]
"""Images (N, channels, size, size) float32 in [0, 1] → log-probabilities (N, classes) float32 with gradients. The N rows
are those that `Attacker.search` was given, in its order; a new call may draw new noise."""


@dataclass
class Found:
    """Results of a search for N images."""

    distance: Tensor
    """(N,) float64: of the nearest image in [0, 1] that was classified wrongly, in the attack's norm and in units of
    [0, 1] pixels; 0 where the image itself is, inf where none was found."""
    image: Tensor
    """(N, channels, size, size) float32: that image; the unchanged one where none was found."""


class Attacker(Protocol):
    """An attack made ready for one model."""

    def search(self, images: Tensor, labels: Tensor) -> Found:
        """Search for the nearest image that isn't classified as its label, for each of N images.

        That the unchanged image may be wrong already is decided elsewhere: it needn't be looked at.
        """
        ...


@dataclass(frozen=True)
class Prepared:
    """Base of an attacker that keeps what `prepare` is given: the class itself can be the module's `prepare`."""

    classify: Classify
    parameters: Mapping[str, Any]
    norm: str
    draw: Callable[[], Tensor]


def fooled(scores: Tensor, labels: Tensor, topk: int) -> Tensor:
    """(N,) bool: the label isn't among the `topk` largest scores (N, classes). A tie counts for the label."""
    return (scores > scores.gather(1, labels[:, None])).sum(dim=1) >= topk


def distances(images: Tensor, others: Tensor, norm: str) -> Tensor:
    """(N,) float64: between two images, in `l2` or `linf`."""
    difference = (others.double() - images.double()).flatten(1)
    order = {"l2": 2.0, "linf": math.inf}[norm]
    distance: Tensor = torch.linalg.vector_norm(difference, ord=order, dim=1)
    return distance


class Nearest:
    """Keeps, of all images that an attack looks at, the nearest one that fools."""

    def __init__(self, images: Tensor, labels: Tensor, *, norm: str, topk: int) -> None:
        self.images, self.labels, self.norm, self.topk = images, labels, norm, topk
        self.found = Found(
            torch.full((len(images),), math.inf, dtype=torch.float64, device=images.device), images.clone()
        )

    def offer(self, candidates: Tensor, scores: Tensor) -> Tensor:
        """Consider images in [0, 1] with their scores; returns a mask of those that fool, (N,) bool. The unchanged image isn't kept."""
        fooling = fooled(scores, self.labels, self.topk)
        distance = distances(self.images, candidates, self.norm)
        better = fooling & (distance > 0) & (distance < self.found.distance)
        self.found = Found(
            torch.where(better, distance, self.found.distance),
            torch.where(better[:, None, None, None], candidates, self.found.image),
        )
        return fooling


def looking(
    classify: Classify, nearest: Nearest, parameters: Mapping[str, Any]
) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """One step of an attack: images → a mask of those that fool (N,), and directions to move in (N, C, H, W).

    One forward and one backward pass. The images are first cut to [0, 1] and then offered to `nearest`, so that what
    is kept is what was classified.
    """
    labels, topk = nearest.labels[:, None], int(parameters["topk"])

    def look(at: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            at = at.detach().clamp(0, 1).requires_grad_()
            scores = classify(at)
            raised = -scores.gather(1, labels)[:, 0]
            if parameters["loss"] == "margin":
                others = scores.scatter(1, labels, -math.inf)
                raised = raised + others.topk(topk, dim=1).values[:, -1]
            gradient = torch.autograd.grad(raised.sum(), at)[0].float()
        # Scaled, for the squares of a confident model's gradient are zero in float32.
        largest = gradient.abs().amax(dim=(1, 2, 3), keepdim=True)
        gradient = gradient / largest.clamp(min=torch.finfo(torch.float32).tiny)
        return nearest.offer(at.detach(), scores.detach()), gradient

    return look
