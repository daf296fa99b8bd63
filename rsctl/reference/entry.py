"""One entry of the reference: a name with its texts, parameters, defaults and example."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Parameter:
    """A parameter of a declaration."""

    name: str
    schema: Mapping[str, Any]


@dataclass(frozen=True)
class StatedDefault:
    """Values that a method has for some data set and noise level."""

    where: str
    values: Mapping[str, Any]
    source: str


@dataclass(frozen=True)
class ReferenceEntry:
    """One thing with a name."""

    kind: str
    name: str
    title: str
    about: str = ""
    use_when: str = ""
    guarantees: str = ""
    source: str = ""
    """The paper, or whoever else it is from."""
    parameters: tuple[Parameter, ...] = ()
    defaults: tuple[StatedDefault, ...] = ()
    example: Mapping[str, Any] = field(default_factory=dict)
    """A whole sweep file."""
    schema: Mapping[str, Any] = field(default_factory=dict)
    """Values that a key allows."""
    variant: bool = False
    """Not listed: its name is made from another one's."""
    special: bool = False
    """Few sweeps need it."""
