"""ResNet-50 as torchvision builds it."""

from __future__ import annotations

from torch import nn

from rsctl.errors import InputError


def build(name: str, classes: int, channels: int, size: int) -> nn.Module:
    if channels != 3:
        raise InputError(
            f"model: {name} takes colour images (3 channels); these have {channels}. Choose another model."
        )
    from torchvision.models import resnet50

    network: nn.Module = resnet50(weights=None, num_classes=classes)
    return network
