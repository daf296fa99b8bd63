"""Networks that a library builds: parameters that all of them share."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from rsctl.catalog.declare import Parameters


class LibraryParameters(Parameters):
    """A network of a library."""

    resize: Annotated[int, Field(ge=0, le=4096)] = Field(0, json_schema_extra={"neutral": 0})
    """Side in pixels that images are resized to inside the model, bicubic with antialiasing; 0 leaves them as they are. Noise is
    added, and radii hold, before it: at the size of the data set's images."""
    head: Annotated[int, Field(ge=0)] = Field(0, json_schema_extra={"neutral": 0})
    """Number of outputs of the network; 0 is one for each class of the data set, in its order."""
    outputs: list[Annotated[int, Field(ge=0)]] = Field([], json_schema_extra={"neutral": []})
    """The output of each class of the data set, where `head` has others or another order; empty takes them in order."""


class NamedArchitecture(LibraryParameters):
    """A network that a library builds by its name."""

    architecture: Annotated[str, Field(min_length=1, max_length=200)]
    """Name of the architecture in the library."""
