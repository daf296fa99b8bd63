"""Splitting noise (Levine, Feizi 2021: Improved, Deterministic Smoothing for ℓ1): what f sees in the place of an image.

Every coordinate's range is cut into intervals of one width, and f sees the middle of the interval that a pixel value lies
in, between 0 and 1. All coordinates' cuts move together, each at a fixed offset of its own, so that there are only as many
positions as an interval has whole pixel values: certification goes through them all.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from jobs.random import generator
from rsctl.catalog.pixels import LEVELS


@cache
def offsets(width: int, shape: tuple[int, ...], device: torch.device) -> Tensor:
    """int64 (C, H, W) in [0, width): the same for every training and every certification."""
    key = generator(torch.device("cpu"), "offsets of splitting noise", width)
    return torch.randint(width, shape, generator=key).to(device)


def split(levels: Tensor, position: Tensor, width: int) -> Tensor:
    """float32 (B, C, H, W) in [0, 1], from pixel values 0 … 255, int64 (C, H, W) or (B, C, H, W), and int64 positions (B,).

    Cuts lie half a pixel value above `position` + offset, at every multiple of `width` from there. Computed in quarters of
    a pixel value: pixel values in one interval give the same float, bit by bit.
    """
    cuts = (position[:, None, None, None] + offsets(width, tuple(levels.shape[-3:]), levels.device)) % width
    below = levels - 1 - (levels - 1 - cuts) % width
    lower = (2 * below + 1).clamp_(min=0)
    upper = (2 * (below + width) + 1).clamp_(max=2 * LEVELS)
    return (lower + upper).float().div_(4 * LEVELS)


def levels_of(pixels: Tensor) -> Tensor:
    """Whole pixel values, int64, of float32 multiples of 1/255."""
    return (pixels * LEVELS).round_().long()
