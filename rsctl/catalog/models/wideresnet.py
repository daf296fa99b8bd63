"""A wide residual network."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from rsctl.catalog.declare import Model, Parameters


class WideResNetParameters(Parameters):
    """A wide residual network."""

    depth: Literal[10, 16, 22, 28, 34, 40] = 40
    """Number of layers: six for each block of a stage, plus four."""
    widen: Annotated[int, Field(ge=1)] = 2
    """Width as a multiple of a ResNet's."""


MODELS = (
    Model(
        "wideresnet",
        "Wide ResNet-40-2, or of another depth and width",
        "Zagoruyko, Komodakis: Wide Residual Networks, BMVC 2016",
        WideResNetParameters,
        smallest=8,
        rate=0.1,
        about="A residual network of three stages whose channels are `widen` times 16, 32 and 64, with normalisation and ReLU before "
        "each convolution. Layers and width are yours to choose.",
        use_when="For ℓ1 certificates on CIFAR-10, whose published tables (Yang 2020) have Wide ResNet-40-2.",
        example={"dataset": "cifar10"},
    ),
)
