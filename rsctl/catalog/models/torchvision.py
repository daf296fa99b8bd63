"""Classifiers of torchvision."""

from __future__ import annotations

from rsctl.catalog.declare import Model
from rsctl.catalog.library import NamedArchitecture

MODELS = (
    Model(
        "torchvision",
        "A classifier of torchvision",
        "torchvision.models",
        NamedArchitecture,
        rate=0.1,
        shorthand="architecture",
        package="torchvision",
        about='Any classifier that torchvision builds by name: `model = "torchvision:resnet18"`. With `resize` it sees images at the '
        "size it was made for, and radii are of the image before that.",
        use_when="To certify torchvision's published weights, or to train an architecture that rsctl doesn't have.",
        example={"dataset": "cifar10", "model.architecture": "resnet18"},
    ),
)
