"""LeNet (LeCun, Bottou, Bengio, Haffner 1998), with layer names as in published checkpoints."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from torch import nn


def build(name: str, classes: int, channels: int, size: int, *, widths: Sequence[int]) -> nn.Sequential:
    """Two 5x5 convolutions without padding, each halved by max-pooling, and a hidden layer: `widths` of the three."""
    left = ((size - 4) // 2 - 4) // 2
    first, second, hidden = widths
    layers: dict[str, nn.Module] = {
        "conv1": nn.Conv2d(channels, first, kernel_size=5),
        "relu1": nn.ReLU(),
        "pool1": nn.MaxPool2d(2),
        "conv2": nn.Conv2d(first, second, kernel_size=5),
        "relu2": nn.ReLU(),
        "pool2": nn.MaxPool2d(2),
        "flatten": nn.Flatten(),
        "fc1": nn.Linear(second * left * left, hidden),
        "relu3": nn.ReLU(),
        "fc2": nn.Linear(hidden, classes),
    }
    return nn.Sequential(OrderedDict(layers))
