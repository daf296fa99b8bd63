"""The first layer of every base classifier: images in [0, 1] → zero mean, unit variance per channel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from rsctl.catalog.checkpoints import NORMALISATIONS, explicit
from rsctl.catalog.declare import DataSet, DataShape
from rsctl.errors import InputError

Values = tuple[Sequence[float], Sequence[float]]
"""Mean and standard deviation, per channel."""


def of_dataset(dataset: DataSet, channels: int) -> Values:
    """Mean and standard deviation that the data set declares; without them images stay as they are."""
    return dataset.mean or (0.0,) * channels, dataset.std or (1.0,) * channels


def untouched(channels: int) -> Values:
    """Values that do nothing."""
    return (0.0,) * channels, (1.0,) * channels


USUAL: dict[str, Values] = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "mnist": ((0.1307,), (0.3081,)),
}
"""Values that networks of many data sets are trained with: those of torchvision's models and of PyTorch's MNIST example."""


def normalisation_values(
    name: str, dataset: DataSet, shape: DataShape
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel of a normalisation (`rsctl.catalog.checkpoints.NORMALISATIONS`, or numbers).

    Raises InputError where it has other channels than the images.
    """
    channels = shape.channels
    zero, one, half = ((value,) * channels for value in (0.0, 1.0, 0.5))
    mean, std = of_dataset(dataset, channels)
    named: dict[str, Values] = {
        "dataset": (mean, std), "centre": (mean, one), "none": (zero, one), "half": (half, half), **USUAL,
    }  # fmt: skip
    chosen: Values = named[name] if name in named else explicit(name)
    if name not in named and len(chosen[0]) == 1:
        chosen = (tuple(chosen[0]) * channels, tuple(chosen[1]) * channels)
    if not len(chosen[0]) == len(chosen[1]) == channels:
        raise InputError(
            f"normalisation '{name}' has {len(chosen[0])} channels; images of {dataset.name} have {channels}."
        )
    return tuple(chosen[0]), tuple(chosen[1])


def named_as(text: str, dataset: DataSet, shape: DataShape) -> str:
    """The name of a normalisation that is given in numbers, or the same numbers where it has none here."""
    for name in NORMALISATIONS:
        try:
            if same(text, name, dataset, shape):
                return name
        except InputError:
            continue  # of another number of channels
    return text


def same(one: str, other: str, dataset: DataSet, shape: DataShape) -> bool:
    """True where two normalisations do the same to float32 images; raises what `normalisation_values` raises."""
    left, right = (np.array(normalisation_values(text, dataset, shape)) for text in (one, other))
    return bool(np.allclose(left, right, rtol=0, atol=1e-6))


class Normalize(nn.Module):
    """(x - mean) / std per channel, x of shape (B, C, H, W).

    Mean and std follow the model to its device but stay out of its state dict: published checkpoints of
    smoothed classifiers have no such entries. With `stored` they are entries of it.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float], *, stored: bool = False) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), persistent=stored)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1), persistent=stored)

    def values(self) -> tuple[list[float], list[float]]:
        """Mean and standard deviation per channel, as float32 holds them."""
        return self.mean.flatten().tolist(), self.std.flatten().tolist()

    def forward(self, images: Tensor) -> Tensor:
        return (images - self.mean) / self.std


def normalisation_of(model: nn.Sequential) -> Normalize:
    """The first layer of a base classifier."""
    layer = model[0]
    assert isinstance(layer, Normalize)
    return layer
