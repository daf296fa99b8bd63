"""A network of linear layers."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from rsctl.catalog.declare import Model, Parameters


class MlpParameters(Parameters):
    """A network of linear layers."""

    widths: Annotated[list[Annotated[int, Field(ge=2)]], Field(min_length=1)] = [256, 256]
    """Units of each hidden layer."""


MODELS = (
    Model(
        "mlp",
        "Linear layers with ReLUs",
        "this project",
        MlpParameters,
        about="Linear layers with a ReLU between each two. With a few hundred units it is the easiest network to prove anything about.",
        use_when="For complete verification on small images.",
    ),
)
