"""The architectures; their code is in `jobs/models/`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from rsctl.catalog.declare import Model, Parameters

HE = "He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition, CVPR 2016"


class CnnParameters(Parameters):
    """A small convolutional network."""

    width: Annotated[int, Field(ge=1)] = 32
    """Channels of the first convolution; the later ones have twice as many."""


MODELS: tuple[Model, ...] = (
    Model(
        "cnn",
        "Small CNN: three convolutions and a linear layer, no batch normalisation",
        "this project",
        CnnParameters,
    ),
    *(
        Model(f"resnet{depth}", f"CIFAR ResNet-{depth}", f"{HE}, section 4.2", smallest=8)
        for depth in (20, 32, 44, 56, 110)
    ),
    *(
        Model(f"resnet{depth}", f"ResNet-{depth} with a 3x3 stem, for 32x32 images", HE, smallest=8)
        for depth in (18, 34)
    ),
    Model("resnet50", "ResNet-50 (torchvision), for 224x224 images", HE, smallest=32),
)
