"""The project's own architectures by name."""

from __future__ import annotations

from typing import Any

from torch import nn

from jobs.models.cnn import SmallCNN, convolutions, lenet
from jobs.models.resnet import cifar_resnet, wide_stem_resnet
from rsctl.errors import InputError

CIFAR_DEPTHS = (20, 32, 44, 56, 110)
WIDE_STEM_DEPTHS = (18, 34)


def build(name: str, classes: int, channels: int, size: int, **parameters: Any) -> nn.Module:
    """An architecture without its normalisation layer: float (B, channels, size, size) → logits (B, classes).

    Raises
    ------
    InputError
        The architecture can't take this number of channels.
    """
    if name == "cnn":
        return SmallCNN(classes, channels, size, **parameters)
    if name == "lenet":
        return lenet(classes, channels, size, **parameters)
    if name == "convolutions":
        return convolutions(classes, channels, size, **parameters)
    depth = int(name.removeprefix("resnet"))
    if depth in CIFAR_DEPTHS:
        return cifar_resnet(depth, classes, channels, **parameters)
    if depth in WIDE_STEM_DEPTHS:
        return wide_stem_resnet(depth, classes, channels)
    if channels != 3:
        raise InputError(
            f"model: {name} takes colour images (3 channels); these have {channels}. Choose another model."
        )
    from torchvision.models import resnet50

    network: nn.Module = resnet50(weights=None, num_classes=classes)
    return network
