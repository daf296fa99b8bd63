"""The ResNet-34 of HeatSmoothing's code for CIFAR-10 (Campbell, Finlay, Oberman 2020): not the network of He et al. of that name.

Five basic blocks in each of three stages of 16, 32 and 64 channels. A stage begins with a 1x1 convolution to its
channels and a mean over 2x2 pixels, so that every shortcut is the identity. Batch normalisation scales nothing: a bias
follows it; the logits are normalised too. Weights are drawn as the authors' code draws them.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

WIDTHS = (16, 32, 64)
BLOCKS = 5


class Shift(nn.Module):
    """One number added to each channel, (B, C, …)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.bias.view(-1, *(1 for _ in x.shape[2:]))


def convolution(inputs: int, outputs: int, kernel: int) -> list[nn.Module]:
    """A convolution, its batch normalisation, and the bias."""
    layer = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
    return [layer, nn.BatchNorm2d(outputs, affine=False), Shift(outputs)]


class HeatBlock(nn.Module):
    """Two convolutions beside the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*convolution(channels, channels, 3), nn.ReLU(), *convolution(channels, channels, 3))  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(x + self.layers(x))


def build(name: str, classes: int, channels: int, size: int) -> nn.Sequential:
    """The network without a normalisation layer: float (B, channels, size, size) → logits (B, classes)."""
    stages: dict[str, nn.Module] = {"stem": nn.Sequential(*convolution(channels, WIDTHS[0], 3), nn.ReLU())}
    stages["stage1"] = nn.Sequential(*(HeatBlock(WIDTHS[0]) for _ in range(BLOCKS)))
    for number, (before, after) in enumerate(pairwise(WIDTHS), 2):
        narrow = [*convolution(before, after, 1), nn.ReLU(), nn.AvgPool2d(2)]
        stages[f"stage{number}"] = nn.Sequential(*narrow, *(HeatBlock(after) for _ in range(BLOCKS)))
    last = nn.Linear(WIDTHS[-1], classes, bias=False)
    stages |= {
        "pool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten(), "fc": last,
        "normalise": nn.BatchNorm1d(classes, affine=False), "shift": Shift(classes),
    }  # fmt: skip
    network = nn.Sequential(OrderedDict(stages))
    drawn(network)
    return network


def drawn(network: nn.Module) -> None:
    """Weights and biases uniform within ±1/√n, n the numbers that one result is summed from."""
    bound = 0.0
    for layer in network.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            bound = 1 / math.sqrt(layer.weight[0].numel())
            nn.init.uniform_(layer.weight, -bound, bound)
        elif isinstance(layer, Shift):  # the next one after its own layer
            nn.init.uniform_(layer.bias, -bound, bound)
