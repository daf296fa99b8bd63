"""The part of a spec that makes a run a later level of a cascade, sampled as needed."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Needed(BaseModel):
    """The earlier levels of a cascade, by whose counts a level samples an image or not."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    levels: list[str]
    """Hashes of their specs, in order."""
    runs: list[str] = Field(json_schema_extra={"identity": False})
    """Their runs."""
    taus: list[float]
    """Their thresholds."""
    share: float
    """Failure probability of each bound: the cascade's alpha, divided by the number of its bounds."""
    settled_radius: float = 0.0
    """Smallest radius at which a level settles an image that it decides."""
