"""An architecture."""

from torch import nn


def build(name, classes, channels, size, *, width):
    return nn.Sequential(
        nn.Flatten(), nn.Linear(channels * size * size, width), nn.ReLU(), nn.Linear(width, classes)
    )
