"""What a run computes, resolved down to the last value and named by its content: a model, or a table with a row per image."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    TypeAdapter,
    model_serializer,
)

from rsctl.catalog.recipe import Recipe
from rsctl.config.identity import content_hash, identity


class RunSpec(BaseModel):
    """What every run has: a version of its format and a content hash."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    version: Literal[1] = 1
    folder: ClassVar[str]
    """Of the store, where such runs lie."""

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

    folder = "models"
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
    noise: Literal["gaussian", "uniform", "laplace", "splitting"] = Field(
        default="gaussian", json_schema_extra={"neutral": "gaussian"}
    )
    """Law of the training noise's coordinates; of sigma = 0 none, and this is its neutral value."""

    file: str = Field("", json_schema_extra={"identity": False})
    """Of a model that is taken from a published checkpoint: where it was when the run was made."""
    predictions: str = Field("", json_schema_extra={"identity": False})
    """The run with the smoothed predictions of its teacher, where it wants them."""

    @property
    def parents(self) -> dict[str, Origin]:
        """The models that must be there before the training can begin, by role."""
        roles = {"start": self.start, "teacher": self.teacher}
        return {role: origin for role, origin in roles.items() if origin is not None}

    @property
    def needs(self) -> list[str]:
        """Runs that have to be done before it."""
        return [*(origin.run for origin in self.parents.values()), *filter(None, [self.predictions])]

    @property
    def run_id(self) -> str:
        return f"{self.method}-{self.dataset}-s{self.sigma:g}-{self.hash[:8]}"


class TableSpec(RunSpec):
    """A table with a row per image of what was found out about one model."""

    model_hash: str
    """Hash of the TrainSpec whose model it is about."""
    model_run: str = Field(json_schema_extra={"identity": False})
    """Its run."""
    dataset: str
    dataset_parameters: dict[str, Any]
    data: str = ""
    split: Literal["test", "val"]
    holdout: float = 0.0
    seed: int
    """Of the order of images, and of every draw."""


class DrawnSpec(TableSpec):
    """A table whose rows depend on random draws."""

    keys: Literal["shared", "split"] = Field(default="shared", json_schema_extra={"neutral": "shared"})
    """`split`: the keys of the draws contain the split and the data set. `shared`: they contain neither, so that images at one
    position of two splits get the same noise; the test split's keys, and those of held-out images before rsctl told them apart."""

    @property
    def noise_key(self) -> tuple[int | str, ...]:
        """The beginning of the key of every draw; what follows is the purpose, the image and the number of the draw.

        No noise that judges a network may be noise by which it was chosen: the test split shares none with the others
        (`rsctl/docs/noise.md`).
        """
        if self.keys == "shared":
            return (self.seed,)
        data = content_hash(
            {"dataset": self.dataset, "parameters": self.dataset_parameters, "data": self.data}
        )
        return (self.seed, self.split, data)

    @property
    def shares_noise(self) -> bool:
        """True where held-out images got the noise of test images: what they choose must be certified with another seed."""
        return self.split != "test" and self.keys == "shared"


def halves_of(n: int, block: int) -> tuple[int, int]:
    """The numbers of draws, among n, that are made in blocks of even number and in those of odd number."""
    pairs, rest = divmod(n, 2 * block)
    odd = pairs * block + max(rest - block, 0)
    return n - odd, odd


class CountSpec(DrawnSpec):
    """Class counts of one model under noise."""

    folder = "counts"
    kind: Literal["count"] = "count"
    sigma: float
    noise: Literal["gaussian", "generalised-gaussian", "uniform", "laplace", "splitting"] = "gaussian"
    exponent: int = Field(default=0, json_schema_extra={"neutral": 0})
    """Of generalised Gaussian noise."""
    shell_edges: list[float] = Field(default=[], json_schema_extra={"neutral": []})
    """Noise norms, in the units of the images, between which draws are counted apart."""
    selection: Literal["noise", "clean"] = Field(default="noise", json_schema_extra={"neutral": "noise"})
    """What chooses the class: n0 noisy draws, or one pass over the image as it is."""
    n0: int
    """1 where one clean pass chooses, 0 where all positions of splitting noise are counted."""
    n: int
    stopping: Literal["fixed", "certify-at-radii", "radius-within"] = "fixed"
    stop_radii: list[float] = Field(default=[], json_schema_extra={"neutral": []})
    """`certify-at-radii`: what must be settled."""
    stop_delta: float = Field(default=0.0, json_schema_extra={"neutral": 0.0})
    """`radius-within`: how near to the radius of n draws."""
    stop_alpha: float = Field(default=0.0, json_schema_extra={"neutral": 0.0})
    """The alpha that a sequential rule stops for; certificates may be derived at another."""
    precision: Literal["fp32", "tf32", "bf16"]
    transfer: int = Field(default=0, json_schema_extra={"neutral": 0})
    """Further draws of bf16 counts that go through the network in fp32 too, to compare its class."""
    gradient: bool = Field(default=False, json_schema_extra={"neutral": False})
    """The noise that leaves the selected class is summed up, by half of the draws."""
    extras: dict[str, dict[str, Any]] = Field(default={}, json_schema_extra={"neutral": {}})
    """Measurements of plugins: name → its revision and parameters."""
    tile: int | Literal["auto"]
    """`auto`: the one that the run's first task settles on, kept in its folder."""
    block: int
    compile: Literal["off", "default", "graphs"] = Field(default="off", json_schema_extra={"neutral": "off"})
    """How torch's compiler was used."""
    arithmetic: Literal["float", "exact"] = Field(default="float", json_schema_extra={"neutral": "float"})
    """`exact`: of f on whole pixel values, with noise in such."""

    @model_serializer(mode="wrap")
    def _without_extras(self, values: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """No `extras` where there are none: older versions read the spec, too."""
        return {key: value for key, value in values(self).items() if key != "extras" or value}

    @property
    def estimated(self) -> bool:
        """Whether draws stand for all there are: n, n0 and alpha then say how well."""
        return self.noise != "splitting"

    @property
    def shares_noise(self) -> bool:
        return self.estimated and super().shares_noise

    @property
    def halves(self) -> tuple[int, int]:
        """Estimation draws in blocks of even number, and of odd number."""
        return halves_of(self.n, self.block)

    @property
    def run_id(self) -> str:
        return f"{self.model_run}-{self.hash[:8]}"


class VerifySpec(TableSpec):
    """Radii that a verifier proves of one model, without sampling."""

    folder = "verifications"
    kind: Literal["verify"] = "verify"
    verifier: str
    revision: int
    parameters: dict[str, Any]
    norm: Literal["l1", "l2", "linf"]
    radii: list[float]
    """What has to be settled; empty for the largest radius that can be proved."""
    precision: Literal["fp32", "tf32", "bf16"]

    @property
    def run_id(self) -> str:
        return f"{self.model_run}-{self.verifier}-{self.hash[:8]}"


CONFIRMATIONS = 14
"""Largest number of confirmations of an adversarial image of the smoothed classifier, which share the attack's alpha."""


class AttackSpec(DrawnSpec):
    """Distances at which an attack finds adversarial images of one model."""

    folder = "attacks"
    kind: Literal["attack"] = "attack"
    attack: str
    revision: int
    parameters: dict[str, Any]
    norm: Literal["l1", "l2", "linf"]
    target: Literal["base", "smoothed"]
    """The network itself, or its smoothed classifier."""
    sigma: float = 0.0
    """Of the smoothed classifier's Gaussian noise."""
    noises: int = 0
    """Noisy copies per gradient of the smoothed classifier."""
    n: int = 0
    """Draws that confirm, on the smoothed classifier, what was found."""
    alpha: float = 0.0
    """Failure probability of such a confirmation."""
    precision: Literal["fp32", "tf32", "bf16"]

    @property
    def run_id(self) -> str:
        return f"{self.model_run}-{self.attack}-{self.hash[:8]}"


Spec = TrainSpec | CountSpec | VerifySpec | AttackSpec
_SPEC: TypeAdapter[Spec] = TypeAdapter(Annotated[Spec, Field(discriminator="kind")])


def parse_spec(values: dict[str, Any]) -> Spec:
    """A spec from its JSON values; raises pydantic's ValidationError."""
    return _SPEC.validate_python(values)
