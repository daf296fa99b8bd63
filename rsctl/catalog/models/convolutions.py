"""A plain convolutional network, its layers given one by one."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from rsctl.catalog.declare import Model, Parameters


class ConvolutionsParameters(Parameters):
    """A plain convolutional network."""

    convolutions: Annotated[
        list[Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=4, max_length=4)]],
        Field(min_length=1),
    ] = [[16, 4, 2, 1], [32, 4, 2, 1]]
    """Channels, kernel, stride and padding of each convolution. A ReLU follows each."""
    widths: list[Annotated[int, Field(ge=2)]] = [100]
    """Units of each hidden linear layer."""

    @field_validator("convolutions")
    @classmethod
    def _sizes(cls, convolutions: list[list[int]]) -> list[list[int]]:
        if any(min(one[:3]) < 1 for one in convolutions):
            raise ValueError("channels, kernel and stride of a convolution are at least 1")
        return convolutions


MODELS = (
    Model(
        "convolutions",
        "Convolutions with ReLUs, then linear layers, as networks to verify are published",
        "Wong, Schmidt, Metzen, Kolter: Scaling provable adversarial defenses, NeurIPS 2018, and others",
        ConvolutionsParameters,
        about="A plain network whose convolutions you list, each with a ReLU, followed by linear layers. It has affine layers and "
        "ReLUs only, which is what complete verifiers take.",
        use_when="For a network of a verification paper, or one sized for `branch-and-bound` and `milp`.",
    ),
)
