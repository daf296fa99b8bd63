"""Radii from proofs: images in batches of one shape, at given radii or by search for the largest, predicted where no proof does."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized, remove_parametrizations

from jobs.models.load import Executed
from jobs.verifiers import Verdicts
from rsctl.errors import InputError

PIECE = 8
"""Images that are classified at once."""


class SumsOfProducts(Executed):
    """The executed function, with every convolution on a GPU a sum of products too: cuDNN might use Winograd's algorithm."""

    def __init__(self, model: nn.Sequential, precision: str) -> None:
        if precision != "fp32":
            raise InputError(
                f"precision.certification: bounds are proved for float32 arithmetic, not for '{precision}'. Set it to 'fp32'."
            )
        # A weight that is computed from others at every call is computed once.
        for layer in model.modules():
            if is_parametrized(layer, "weight"):
                remove_parametrizations(layer, "weight")
        super().__init__(model, precision)

    def forward(self, x: Tensor) -> Tensor:
        with torch.backends.cudnn.flags(enabled=False):
            return super().forward(x)


class RadiusSearch:
    """Finds radii by asking `proved(images, labels, radius)`, (B,) bool, for `batch` images at a time.

    `passes` is what one such question costs, in forward passes. What is proved at the smallest radius is predicted, too: where
    the question is cheap and its answer mostly yes, it comes before the prediction, and that is spared.
    """

    def __init__(
        self, executed: nn.Module, proved: Callable[[Tensor, Tensor, Tensor], Tensor], radii: list[float], parameters: Any, *, passes: float = math.inf,
    ) -> None:  # fmt: skip
        self.executed, self.proved, self.radii, self.passes = executed, proved, radii, passes
        self.batch, self.tolerance = parameters.batch, parameters.tolerance
        self.smallest = min((radius for radius in radii if radius > 0), default=math.inf)
        self.sure = self.wrong = 0  # images so far: proved at the smallest radius, and classified wrongly

    @torch.inference_mode()
    def verify(self, images: Tensor, labels: Tensor) -> Verdicts:
        """Images (N, C, H, W) float32 in [0, 1]; one that is classified wrongly gets radius 0."""
        rows = torch.arange(len(images), device=images.device)
        radius = torch.zeros(len(images), dtype=torch.float64, device=images.device)
        sure = None
        if self.smallest < math.inf and self.sure > self.passes * self.wrong:
            sure = self.prove(images, labels, rows, torch.full_like(radius, self.smallest))
        predicted = labels.clone()
        unsure = rows if sure is None else rows[~sure]
        predicted[unsure] = self.classes(images, unsure)
        right = rows[predicted == labels]

        def proved(some: Tensor, each: Tensor) -> Tensor:
            if sure is not None and bool((each == self.smallest).all()):
                return sure[right[some]]
            return self.prove(images, labels, right[some], each)

        radius[right] = largest(
            proved, len(right), self.radii, start=1 / 255, tolerance=self.tolerance, device=images.device
        )
        self.sure += int((radius > 0).sum())
        self.wrong += len(images) - len(right)
        return Verdicts(predicted, radius, torch.full_like(radius, math.inf))

    def prove(self, images: Tensor, labels: Tensor, rows: Tensor, radius: Tensor) -> Tensor:
        """Attempt proofs of the images in `rows`, each at its radius; returns a mask of those that are proved."""
        answers = []
        for some, each in zip(rows.split(self.batch), radius.split(self.batch), strict=True):
            padded, radii = filled(some, self.batch), filled(each, self.batch)
            whole = len(some) == len(images) == self.batch  # in order: nothing to pick out
            batch = (images, labels) if whole else (images[padded], labels[padded])
            with torch.backends.cudnn.flags(enabled=False):
                answers.append(self.proved(*batch, radii)[: len(some)])
        return torch.cat(answers)

    def classes(self, images: Tensor, rows: Tensor) -> Tensor:
        """Classes that the executed function gives the images in `rows`; in small batches, for there may be only few."""
        if not len(rows):
            return rows
        few = min(PIECE, self.batch)
        parts = [
            self.executed(images[filled(some, few)]).argmax(dim=1)[: len(some)] for some in rows.split(few)
        ]
        return torch.cat(parts)


def largest(
    proved: Callable[[Tensor, Tensor], Tensor], count: int, radii: list[float],
    *, start: float, tolerance: float, device: torch.device | None = None,
) -> Tensor:  # fmt: skip
    """The largest radius in [0, 1] that is proved for each of `count` images, (count,) float64; 0 where none is.

    `proved(rows, radius)` says for some images, each with a radius, whether that is proved. Given `radii`, only those
    are tried, largest last; else a bisection begins at `start` and ends when it knows a radius to a relative `tolerance`.
    A radius is only returned if it was proved itself, so nothing relies on proofs being monotone.
    """
    best = torch.zeros(count, dtype=torch.float64, device=device)
    if radii:
        alive = torch.arange(count, device=device)
        for radius in sorted(set(radii)):
            if radius > 0 and len(alive):
                alive = alive[proved(alive, torch.full_like(best[alive], radius))]
                best[alive] = radius
        return best
    above = torch.full_like(best, math.inf)
    while True:
        # Double until a radius fails, or quarter until one is proved; then bisect.
        middle = torch.where(
            above.isinf(), (2 * best).clamp(start, 1.0), torch.where(best == 0, above / 4, (best + above) / 2)
        )
        known = torch.where(best == 0, above < start * 1e-4, (above - best) <= tolerance * best)
        rows = (~known & (best < 1)).nonzero()[:, 0]
        if not len(rows):
            return best
        done = proved(rows, middle[rows])
        best[rows[done]] = middle[rows[done]]
        above[rows[~done]] = middle[rows[~done]]


def filled(values: Tensor, count: int) -> Tensor:
    """`count` of them, over and over: always as many at once, for a sum's order may change with the shape it is computed in."""
    return values[torch.arange(count, device=values.device) % len(values)]
