"""The networks of interval bound propagation (Gowal et al. 2019, table 1)."""

from __future__ import annotations

from torch import nn

from jobs.models.architectures import convolutions

CONVOLUTIONS = {
    "ibp-small": [(16, 4, 2, 0), (32, 4, 1, 0)],
    "ibp-medium": [(32, 3, 1, 0), (32, 4, 2, 0), (64, 3, 1, 0), (64, 4, 2, 0)],
    "ibp-large": [(64, 3, 1, 1), (64, 3, 1, 1), (128, 3, 2, 1), (128, 3, 1, 1), (128, 3, 1, 1)],
}
"""Channels, kernel, stride, padding."""
HIDDEN = {"ibp-small": [100], "ibp-medium": [512, 512], "ibp-large": [512]}


def build(name: str, classes: int, channels: int, size: int) -> nn.Sequential:
    return convolutions.build(
        name, classes, channels, size, convolutions=CONVOLUTIONS[name], widths=HIDDEN[name]
    )
