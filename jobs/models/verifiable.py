"""Networks that certified training is published with: plain ones, and some that are 1-Lipschitz by construction."""

from __future__ import annotations

from itertools import pairwise

from torch import nn

from jobs.models.distance import distance_network
from jobs.models.lipschitz import lipschitz_mlp

CONVOLUTIONS: dict[str, list[tuple[int, int, int, int]]] = {
    "ibp-small": [(16, 4, 2, 0), (32, 4, 1, 0)],
    "ibp-medium": [(32, 3, 1, 0), (32, 4, 2, 0), (64, 3, 1, 0), (64, 4, 2, 0)],
    "ibp-large": [(64, 3, 1, 1), (64, 3, 1, 1), (128, 3, 2, 1), (128, 3, 1, 1), (128, 3, 1, 1)],
}
"""Gowal et al. 2019, table 1: channels, kernel, stride, padding."""
HIDDEN = {"ibp-small": [100], "ibp-medium": [512, 512], "ibp-large": [512]}


def build(
    name: str,
    classes: int,
    channels: int,
    size: int,
    *,
    widths: tuple[int, ...] = (),
    initial: str = "normal",
) -> nn.Sequential:
    """An architecture without its normalisation layer: float (B, channels, size, size) → logits (B, classes)."""
    inputs = channels * size * size
    if name == "mlp":
        return nn.Sequential(nn.Flatten(), *dense([inputs, *widths, classes]))
    if name == "lipschitz-mlp":
        return lipschitz_mlp(inputs, list(widths), classes)
    if name == "linf-distance":
        return distance_network(inputs, list(widths), classes, initial)
    return convolutional(name, classes, channels, size)


def convolutional(name: str, classes: int, channels: int, size: int) -> nn.Sequential:
    """Convolutions with a ReLU each, and linear layers."""
    layers: list[nn.Module] = []
    for outputs, kernel, stride, padding in CONVOLUTIONS[name]:
        layers += [nn.Conv2d(channels, outputs, kernel, stride, padding), nn.ReLU()]
        channels, size = outputs, (size + 2 * padding - kernel) // stride + 1
    return nn.Sequential(*layers, nn.Flatten(), *dense([channels * size * size, *HIDDEN[name], classes]))


def dense(widths: list[int]) -> list[nn.Module]:
    """Linear layers with ReLUs between them."""
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return layers[:-1]
