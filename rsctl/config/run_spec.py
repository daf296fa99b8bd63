"""Base of the specs of all runs."""

from __future__ import annotations

from functools import cached_property
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from rsctl.config.identity import content_hash, identity


class RunSpec(BaseModel):
    """Base of all specs: a format version and a content hash."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    version: Literal[1] = 1
    folder: ClassVar[str]
    """Folder of the store that holds such runs."""

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the computation; two specs with the same hash are the same run. No class name enters it."""
        return content_hash(identity(self))

    @property
    def needs(self) -> list[str]:
        """Runs of models that must be done before this one."""
        raise TypeError("a concrete spec names them")

    @property
    def run_id(self) -> str:
        raise TypeError("a concrete spec names its run")

    @property
    def key(self) -> str:
        """`counts/<id>`."""
        return f"{self.folder}/{self.run_id}"


class Origin(BaseModel):
    """Another run's model that a training needs."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    hash: str
    """Hash of the TrainSpec of that run."""
    run: str = Field(json_schema_extra={"identity": False})
    """Its run."""
