"""LeNet."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from rsctl.catalog.declare import Model, Parameters


class LenetParameters(Parameters):
    """LeNet."""

    widths: Annotated[list[Annotated[int, Field(ge=2)]], Field(min_length=3, max_length=3)] = Field(
        [20, 50, 500], json_schema_extra={"neutral": [20, 50, 500]}
    )
    """Channels of the two convolutions, and units of the hidden layer."""


MODELS = (
    Model(
        "lenet",
        "LeNet with two convolutions and max-pooling, for 28x28 images",
        "LeCun, Bottou, Bengio, Haffner: Gradient-based learning applied to document recognition, 1998; "
        "as Jeong, Shin 2020, authors' code: archs/lenet.py",
        LenetParameters,
        smallest=16,
        about="Two convolutions, each followed by max-pooling, and two linear layers. Small enough for a CPU.",
        use_when="To compare with published tables on MNIST and Fashion-MNIST.",
    ),
)
