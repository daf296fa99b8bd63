"""Residual networks for small images."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rsctl.catalog.declare import Model, Parameters

HE = "He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition, CVPR 2016"


class ResNetParameters(Parameters):
    """A CIFAR ResNet."""

    shortcut: Literal["projection", "padding"] = Field(
        "projection", json_schema_extra={"neutral": "projection"}
    )
    """Shortcut where the shape changes: a 1x1 `projection` (option B of the paper, as in smoothed classifiers), or `padding`
    with zero channels (option A, as in the paper's own CIFAR networks)."""


MODELS = (
    *(
        Model(
            f"resnet{depth}",
            f"CIFAR ResNet-{depth}",
            f"{HE}, section 4.2",
            ResNetParameters,
            smallest=8,
            implementation="jobs.models.architectures.resnet",
            rate=0.1,
            about=f"The residual network of {depth} layers for 32x32 images: three stages of 16, 32 and 64 channels with shortcuts "
            "around every two convolutions. It is narrow, with batch normalisation.",
            use_when=use,
            example={"dataset": "cifar10"},
        )
        for depth, use in (
            (20, "For CIFAR-10 on a CPU or in little time."),
            (32, "Between ResNet-20 and ResNet-110, for CIFAR-sized images."),
            (44, "Between ResNet-20 and ResNet-110, for CIFAR-sized images."),
            (56, "Between ResNet-20 and ResNet-110, for CIFAR-sized images."),
            (110, "To compare with published tables on CIFAR-10: nearly all of them have this network."),
        )
    ),
    *(
        Model(
            f"resnet{depth}",
            f"ResNet-{depth} with a 3x3 stem, for 32x32 images",
            HE,
            smallest=8,
            implementation="jobs.models.architectures.resnet",
            rate=0.1,
            about=f"ImageNet's ResNet-{depth} with a 3x3 convolution in place of its 7x7 one and without the pooling after it, so that "
            "small images keep their resolution. Its four stages have 64 to 512 channels.",
            use_when="For CIFAR-sized images where a wider network than the CIFAR ResNets is wanted.",
            example={"dataset": "cifar10"},
        )
        for depth in (18, 34)
    ),
)
