"""Convolutions and linear layers, a ReLU after each but the last."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from jobs.models.architectures.mlp import dense
from rsctl.errors import InputError


def build(
    name: str, classes: int, channels: int, size: int, *, convolutions: Sequence[Sequence[int]], widths: Sequence[int]
) -> nn.Sequential:  # fmt: skip
    """`convolutions` as (channels, kernel, stride, padding); raises InputError for a kernel larger than its input."""
    layers: list[nn.Module] = []
    for outputs, kernel, stride, padding in convolutions:
        if kernel > size + 2 * padding:
            raise InputError(
                f"model.convolutions: a kernel of {kernel} is larger than the {size}x{size} pixels it is moved over."
            )
        layers += [nn.Conv2d(channels, outputs, kernel, stride, padding), nn.ReLU()]
        channels, size = outputs, (size + 2 * padding - kernel) // stride + 1
    return nn.Sequential(*layers, nn.Flatten(), *dense(channels * size * size, widths, classes))
