"""ResNet-50, for ImageNet."""

from __future__ import annotations

from rsctl.catalog.declare import Model

MODELS = (
    Model(
        "resnet50",
        "ResNet-50 (torchvision), for 224x224 images",
        "He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition, CVPR 2016",
        smallest=32,
        rate=0.1,
        about="torchvision's residual network of 50 layers in bottleneck blocks, with a 7x7 stem. It takes colour images.",
        use_when="For ImageNet: published tables of smoothing have this network.",
        example={"dataset": "imagenet"},
    ),
)
