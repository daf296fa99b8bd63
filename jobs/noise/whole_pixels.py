"""Noise in whole pixel values: draws from integer weights, exactly (`rsctl.certificates.exact_noise`)."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from rsctl.catalog.pixels import LEVELS
from rsctl.certificates.exact_noise import BITS, reach, weights


class WholePixels:
    """The rounded Gaussian of one σ, on one device.

    By Walker's alias method: the high bits of a uniform integer choose a cell, the low ones between the two values that
    share it. Vose's way of filling the cells is done in integers here, so that a value gets its weight to the last unit.
    """

    def __init__(self, sigma: float, device: torch.device) -> None:
        self.reach = reach(sigma)
        cutoff, other = cells(weights(sigma))
        self.shift = BITS - (len(cutoff) - 1).bit_length()
        self.cutoff = torch.tensor(cutoff, device=device)
        self.other = torch.tensor(other, device=device)

    def draw(self, shape: tuple[int, ...], key: torch.Generator) -> Tensor:
        """M, float32 of `shape`: whole pixel values, independent. A function of the key and the shape."""
        uniform = torch.empty(shape, dtype=torch.int64, device=key.device).random_(0, 2**BITS, generator=key)
        return self.values(uniform.flatten()).float().view(shape)

    def values(self, uniform: Tensor) -> Tensor:
        """Values, int64 (N,), of integers (N,) below 2^BITS."""
        cell, rest = uniform >> self.shift, uniform & ((1 << self.shift) - 1)
        chosen = torch.where(rest < self.cutoff.gather(0, cell), cell, self.other.gather(0, cell))
        return chosen.sub_(self.reach)


def noisy(pixels: Tensor, noise: Tensor, out: Tensor) -> Tensor:
    """(x + M)/255 in `out`, from x (C, H, W) in [0, 1], multiples of 1/255, and M (B, C, H, W).

    Whole numbers below 2^24 are added without rounding; only the division rounds, the same way for the same sum.
    """
    return torch.add((pixels * LEVELS).round_(), noise, out=out).div_(LEVELS)


def cells(weights: NDArray[Any]) -> tuple[list[int], list[int]]:
    """Per cell: below which rest it stands for its own number, and for which other one from there on.

    Cells are a power of two, each as wide as 2^BITS over their number; those beyond the weights have none of their own.
    """
    count = 1 << (len(weights) - 1).bit_length()
    width = 2**BITS // count
    left = [int(weight) for weight in weights] + [0] * (count - len(weights))
    cutoff, other = [width] * count, list(range(count))
    small = [number for number in range(count) if left[number] < width]
    large = [number for number in range(count) if left[number] >= width]
    while small:
        poor, rich = small.pop(), large[-1]
        cutoff[poor], other[poor] = left[poor], rich
        left[rich] -= width - left[poor]
        if left[rich] < width:
            small.append(large.pop())
    return cutoff, other
