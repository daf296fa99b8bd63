"""Linear layers with ReLUs between them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import nn


def build(name: str, classes: int, channels: int, size: int, *, widths: Sequence[int]) -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), *dense(channels * size * size, widths, classes))


def dense(inputs: int, widths: Sequence[int], classes: int) -> list[nn.Module]:
    """Linear layers with a ReLU after each but the last."""
    layers: list[nn.Module] = []
    for before, after in pairwise([inputs, *widths, classes]):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return layers[:-1]
