"""TrainSpec and CountSpec: resolved down to the last value, and named by their content."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from rsctl.catalog.recipe import Recipe
from rsctl.spec.identity import content_hash, identity


class RunSpec(BaseModel):
    """What every run has: a version of its format and a content hash."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    version: Literal[1] = 1

    @cached_property
    def hash(self) -> str:
        """SHA-256 of what is computed; two specs with the same hash are the same run."""
        return content_hash({"kind": type(self).__name__, **identity(self)})

    @property
    def run_id(self) -> str:
        raise TypeError("a concrete spec names its run")


class Origin(BaseModel):
    """Another run's model that a training needs."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    hash: str
    """Hash of the TrainSpec of that run."""
    run: str = Field(json_schema_extra={"identity": False})
    """Its run."""


class TrainSpec(RunSpec):
    """One base classifier."""

    kind: Literal["train"] = "train"
    method: str
    revision: int
    hyperparameters: dict[str, Any]
    recipe: Recipe
    dataset: str
    dataset_parameters: dict[str, Any]
    """Without the fields that only say where the files are."""
    data: str = ""
    """Fingerprint of the files, where the data set's name doesn't identify them."""
    holdout: float = 0.0
    """Share of the training images left out for `split = "val"`."""
    model: str
    model_parameters: dict[str, Any]
    sigma: float
    seed: int
    precision: Literal["fp32", "tf32", "bf16"]
    start: Origin | None = Field(None, json_schema_extra={"neutral": None})
    """The model whose weights the training begins with."""
    teacher: Origin | None = Field(None, json_schema_extra={"neutral": None})
    """The model that the method learns from."""
    exponent: int = Field(default=0, json_schema_extra={"neutral": 0})
    """Of generalised Gaussian training noise; 0 is Gaussian."""

    @property
    def parents(self) -> dict[str, Origin]:
        """The models that must be there before the training can begin, by role."""
        roles = {"start": self.start, "teacher": self.teacher}
        return {role: origin for role, origin in roles.items() if origin is not None}

    @property
    def run_id(self) -> str:
        return f"{self.method}-{self.dataset}-s{self.sigma:g}-{self.hash[:8]}"


class CountSpec(RunSpec):
    """Class counts of one model under noise."""

    kind: Literal["count"] = "count"
    model_hash: str
    """Hash of the TrainSpec whose model is sampled."""
    model_run: str = Field(json_schema_extra={"identity": False})
    """Its run."""
    dataset: str
    dataset_parameters: dict[str, Any]
    data: str = ""
    split: Literal["test", "val"]
    holdout: float = 0.0
    sigma: float
    noise: Literal["gaussian", "generalised-gaussian"] = "gaussian"
    exponent: int = Field(default=0, json_schema_extra={"neutral": 0})
    """Of generalised Gaussian noise."""
    shell_edges: list[float] = Field(default=[], json_schema_extra={"neutral": []})
    """Noise norms, in the units of the images, between which draws are counted apart."""
    seed: int
    n0: int
    n: int
    stopping: Literal["fixed", "certify-at-radii", "radius-within"] = "fixed"
    stop_radii: list[float] = Field(default=[], json_schema_extra={"neutral": []})
    """`certify-at-radii`: what must be settled."""
    stop_delta: float = Field(default=0.0, json_schema_extra={"neutral": 0.0})
    """`radius-within`: how near to the radius of n draws."""
    stop_alpha: float = Field(default=0.0, json_schema_extra={"neutral": 0.0})
    """The alpha that a sequential rule stops for; certificates may be derived at another."""
    precision: Literal["fp32", "tf32", "bf16"]
    tile: int
    block: int

    @property
    def run_id(self) -> str:
        return f"{self.model_run}-{self.hash[:8]}"


def parse_spec(values: dict[str, Any]) -> TrainSpec | CountSpec:
    """A spec from its JSON values; raises pydantic's ValidationError."""
    return (TrainSpec if values.get("kind") == "train" else CountSpec).model_validate(values)
