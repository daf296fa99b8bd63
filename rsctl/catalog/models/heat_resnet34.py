"""The ResNet-34 of HeatSmoothing's code."""

from __future__ import annotations

from rsctl.catalog.declare import Model

MODELS = (
    Model(
        "heat-resnet34",
        "ResNet-34 of HeatSmoothing's code: three stages of 16 to 64 channels, identities as shortcuts",
        "Campbell, Finlay, Oberman: Adversarial Boot Camp: label free certified robustness in one epoch, 2020, authors' code: "
        "cifar10/train_utils/cvmodels",
        smallest=4,
        about="The network that HeatSmoothing's authors train on CIFAR-10: five blocks in each of three stages of 16, 32 and 64 "
        "channels. Every shortcut is the identity, and it isn't the network of He et al. of that name.",
        use_when="To reproduce HeatSmoothing on CIFAR-10.",
        example={"dataset": "cifar10"},
    ),
)
