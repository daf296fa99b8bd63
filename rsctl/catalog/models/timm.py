"""Classifiers of timm."""

from __future__ import annotations

from rsctl.catalog.declare import Model
from rsctl.catalog.library import NamedArchitecture

MODELS = (
    Model(
        "timm",
        "A classifier of timm",
        "Wightman: PyTorch Image Models, timm.create_model",
        NamedArchitecture,
        rate=0.1,
        shorthand="architecture",
        package="timm",
        about='Any classifier that timm builds by name: `model = "timm:resnet50.a1_in1k"`. With `resize` it sees images at the size it '
        "was made for, and radii are of the image before that.",
        use_when="To certify one of timm's pretrained networks, usually behind a denoiser or after fine-tuning with noise.",
        example={"dataset": "cifar10", "model.architecture": "resnet18"},
    ),
)
