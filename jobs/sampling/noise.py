"""Noise as a function of (seed, phase, image, block)."""

from __future__ import annotations

import torch
from torch import Tensor

from jobs.random import generator

SELECTION, ESTIMATION = "selection", "estimation"


def gaussian_block(
    shape: tuple[int, ...],
    sigma: float,
    *,
    seed: int,
    phase: str,
    image: int,
    block: int,
    device: torch.device,
) -> Tensor:
    """One block of N(0, σ²I) noise, float32 of `shape` (block size, C, H, W).

    Always drawn whole and in one call: `randn` isn't prefix-stable. Selection and estimation have keys of
    their own, so the draws that choose a class never certify it.
    """
    key = generator(device, seed, phase, image, offset=block)
    return torch.randn(shape, generator=key, device=device).mul_(sigma)
