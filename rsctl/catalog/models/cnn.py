"""A small convolutional network."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from rsctl.catalog.declare import Model, Parameters


class CnnParameters(Parameters):
    """A small convolutional network."""

    width: Annotated[int, Field(ge=1)] = 32
    """Channels of the first convolution; the later ones have twice as many."""


MODELS = (
    Model(
        "cnn",
        "Small CNN: three convolutions and a linear layer, no batch normalisation",
        "this project",
        CnnParameters,
        about="Three 3x3 convolutions with ReLUs, of which the last two halve the resolution, and a linear layer. It has no "
        "batch normalisation and trains on small grey images in seconds.",
        use_when="For first tries on a CPU, on images such as the digits.",
    ),
)
