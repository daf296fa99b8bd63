"""Networks of the user's own code."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from rsctl.catalog.declare import Model
from rsctl.catalog.library import LibraryParameters


class FactoryParameters(LibraryParameters):
    """A network that a function returns."""

    factory: Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$", max_length=200)]
    """`package.module:function`. The function is called with the number of outputs and returns an nn.Module from images
    (B, C, H, W) to logits (B, outputs). The package must be importable where tasks run."""


MODELS = (
    Model(
        "python",
        "A network that a Python function returns",
        "the function's author",
        FactoryParameters,
        shorthand="factory",
        about='A network of your own code: `model = "python:package.module:function"`. The function gets the number of outputs and '
        "returns the module; its name, not its code, is part of the model's identity.",
        use_when="To certify a network whose code you have, without writing a plugin.",
        example={"model.factory": "my_models.small:network"},
    ),
)
