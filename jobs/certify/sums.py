"""Sums of the noise that left a class, exact whatever the order they are added in."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rsctl.certificates.table import QUANTUM


def summed(noise: Tensor, outside: Tensor, sigma: float) -> Tensor:
    """Σ of u = ε/σ over the rows of `noise` (B, C, H, W) that `outside` (B,) marks: float64 (C·H·W,), in quanta.

    Each coordinate is rounded to whole quanta first. Those sums are integers far below 2^53, so float64 adds them
    without error, in any order and on any device.
    """
    if noise.device.type == "cpu":
        # Few rows are outside as a rule; a GPU would have to wait to learn which.
        kept = noise[outside].flatten(1).double()
        return kept.mul_(1 / (QUANTUM * sigma)).round_().sum(dim=0)
    quanta = noise.flatten(1).double().mul_(1 / (QUANTUM * sigma)).round_()
    return outside.double() @ quanta


def products(sums: Tensor) -> NDArray[np.float64]:
    """(3,): ‖S₁‖², S₁·S₂, ‖S₂‖² of sums (2, d) in quanta, in units of u; good to d · 2^-53 of the norms."""
    first, second = sums.cpu().numpy().astype(np.float64) * QUANTUM
    return np.array([first @ first, first @ second, second @ second])


def empty_sums(dimension: int, device: torch.device) -> Tensor:
    """Of no draw at all."""
    return torch.zeros((2, dimension), dtype=torch.int64, device=device)
