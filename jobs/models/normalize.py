"""The first layer of every base classifier: images in [0, 1] → zero mean, unit variance per channel."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from rsctl.catalog.declare import DataSet

Values = tuple[Sequence[float], Sequence[float]]
"""Mean and standard deviation, per channel."""


def of_dataset(dataset: DataSet, channels: int) -> Values:
    """What the data set declares; nothing is done to images where it declares nothing."""
    return dataset.mean or (0.0,) * channels, dataset.std or (1.0,) * channels


class Normalize(nn.Module):
    """(x - mean) / std per channel, x of shape (B, C, H, W).

    Mean and std follow the model to its device but stay out of its state dict: published checkpoints of
    smoothed classifiers have no such entries.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1), persistent=False)

    def values(self) -> tuple[list[float], list[float]]:
        """Mean and standard deviation per channel, as float32 holds them."""
        return self.mean.flatten().tolist(), self.std.flatten().tolist()

    def forward(self, images: Tensor) -> Tensor:
        return (images - self.mean) / self.std
