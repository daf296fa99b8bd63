"""Specs of runs, fully resolved and named by their content: a model, or a table with a row per image."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    TypeAdapter,
    model_serializer,
)

from rsctl.catalog import network_name
from rsctl.catalog.recipe import Recipe
from rsctl.config.identity import content_hash
from rsctl.config.needed import Needed
from rsctl.config.run_spec import Origin, RunSpec


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
    """Parameters without those that only locate files."""
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
    """Exponent of generalised Gaussian training noise; 0 is Gaussian."""
    noise: Literal["gaussian", "uniform", "laplace", "splitting"] = Field(
        default="gaussian", json_schema_extra={"neutral": "gaussian"}
    )
    """Distribution of the training noise per coordinate; with sigma = 0 there is none, and this is the neutral value."""

    file: str = Field("", json_schema_extra={"identity": False})
    """Path of the published checkpoint that a model is imported from, when the run was created."""
    predictions: str = Field("", json_schema_extra={"identity": False})
    """The run with the smoothed predictions of its teacher, if it uses them."""

    @property
    def network(self) -> str:
        """The architecture as a sweep file names it: `resnet20`, or `timm:resnet18` of a library."""
        return network_name(self.model, self.model_parameters)

    @property
    def parents(self) -> dict[str, Origin]:
        """The models that must exist before the training can begin, by role."""
        roles = {"start": self.start, "teacher": self.teacher}
        return {role: origin for role, origin in roles.items() if origin is not None}

    @property
    def needs(self) -> list[str]:
        return [*(origin.run for origin in self.parents.values()), *filter(None, [self.predictions])]

    @property
    def run_id(self) -> str:
        return f"{self.method}-{self.dataset}-s{self.sigma:g}-{self.hash[:8]}"


class TableSpec(RunSpec):
    """A table of results about one model, with a row per image."""

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
    """Seed of the order of images, and of every draw."""

    @property
    def needs(self) -> list[str]:
        """Runs of the models that must exist before it can begin."""
        return [self.model_run]


class DrawnSpec(TableSpec):
    """A table whose rows depend on random draws."""

    keys: Literal["shared", "split"] = Field(default="shared", json_schema_extra={"neutral": "shared"})
    """`split`: the keys of the draws contain the split and the data set. `shared`: they contain neither, so that images at the same
    position of two splits get the same noise: the test split's keys, and those of held-out images in older versions."""

    @property
    def noise_key(self) -> tuple[int | str, ...]:
        """The beginning of the key of every draw, followed by the purpose, the image and the number of the draw.

        Noise by which a network was chosen may not be used to evaluate it: the test split shares none with the others
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
        """True where held-out images got the noise of test images: models chosen on them must be certified with another seed."""
        return self.split != "test" and self.keys == "shared"


def halves_of(n: int, block: int) -> tuple[int, int]:
    """The numbers of draws, among n, in blocks of even number and in blocks of odd number."""
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
    """Exponent of generalised Gaussian noise."""
    shell_edges: list[float] = Field(default=[], json_schema_extra={"neutral": []})
    """Noise norms, in the units of the images, that bound the shells."""
    selection: Literal["noise", "clean"] = Field(default="noise", json_schema_extra={"neutral": "noise"})
    """Selection of the class: by n0 noisy draws, or by one pass over the clean image."""
    n0: int
    """1 where one clean pass chooses, 0 where all positions of splitting noise are counted."""
    n: int
    stopping: Literal["fixed", "certify-at-radii", "radius-within"] = "fixed"
    stop_radii: list[float] = Field(default=[], json_schema_extra={"neutral": []})
    """`certify-at-radii`: the radii to decide."""
    stop_delta: float = Field(default=0.0, json_schema_extra={"neutral": 0.0})
    """`radius-within`: distance to the radius of n draws."""
    stop_alpha: float = Field(default=0.0, json_schema_extra={"neutral": 0.0})
    """The alpha of a sequential stopping rule; certificates may be derived at another."""
    precision: Literal["fp32", "tf32", "bf16"]
    transfer: int = Field(default=0, json_schema_extra={"neutral": 0})
    """Further draws that go through both the executed and the fp32 network, to compare their classes."""
    gradient: bool = Field(default=False, json_schema_extra={"neutral": False})
    """The noise that leaves the selected class is summed, by half of the draws."""
    extras: dict[str, dict[str, Any]] = Field(default={}, json_schema_extra={"neutral": {}})
    """Measurements of plugins: name → its revision and parameters."""
    tile: int | Literal["auto"]
    """`auto`: the size chosen by the run's first task, recorded in its folder."""
    block: int
    compile: Literal["off", "default", "graphs"] = Field(default="off", json_schema_extra={"neutral": "off"})
    """Mode of torch's compiler."""
    arithmetic: Literal["float", "exact"] = Field(default="float", json_schema_extra={"neutral": "float"})
    """`exact`: inputs and noise are whole pixel values."""
    needed: Needed | None = Field(default=None, json_schema_extra={"neutral": None})
    """Images that earlier levels of a cascade settle aren't sampled: their rows have no draws."""

    @model_serializer(mode="wrap")
    def _without_extras(self, values: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """No `extras` or `needed` where there are none: older versions read the spec, too."""
        return {key: value for key, value in values(self).items() if key not in ("extras", "needed") or value}

    @property
    def estimated(self) -> bool:
        """True where random draws estimate the probabilities, with accuracy given by n, n0 and alpha."""
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
    """Radii to prove; empty for the largest provable radius."""
    precision: Literal["fp32", "tf32", "bf16"]

    @property
    def run_id(self) -> str:
        return f"{self.model_run}-{self.verifier}-{self.hash[:8]}"


CONFIRMATIONS = 14
"""Most confirmations of an adversarial image of the smoothed classifier, which share the attack's alpha."""


class LevelBefore(Origin):
    """A level of an attacked cascade before its last."""

    sigma: float
    tau: float
    """Threshold that a class's probability must exceed for this level to return it."""


class AttackSpec(DrawnSpec):
    """Distances at which an attack finds adversarial images of one model."""

    folder = "attacks"
    kind: Literal["attack"] = "attack"
    attack: str
    revision: int
    parameters: dict[str, Any]
    norm: Literal["l1", "l2", "linf"]
    target: Literal["base", "smoothed", "cascade"]
    """The network itself, its smoothed classifier, or the cascade that ends with this one."""
    before: list[LevelBefore] = Field(default=[], json_schema_extra={"neutral": []})
    """`cascade`: its levels before the last, in order."""
    sigma: float = 0.0
    """Noise level of the smoothed classifier."""
    noises: int = 0
    """Noisy copies per gradient of the smoothed classifier."""
    n: int = 0
    """Draws that confirm an adversarial image of the smoothed classifier."""
    alpha: float = 0.0
    """Failure probability of such a confirmation."""
    precision: Literal["fp32", "tf32", "bf16"]

    @model_serializer(mode="wrap")
    def _without_levels(self, values: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """No `before` where there are none: older versions read the spec, too."""
        return {key: value for key, value in values(self).items() if key != "before" or value}

    @property
    def needs(self) -> list[str]:
        return list(dict.fromkeys([*(level.run for level in self.before), self.model_run]))

    @property
    def run_id(self) -> str:
        return f"{self.model_run}-{self.attack}-{self.hash[:8]}"


Spec = TrainSpec | CountSpec | VerifySpec | AttackSpec
_SPEC: TypeAdapter[Spec] = TypeAdapter(Annotated[Spec, Field(discriminator="kind")])


def parse_spec(values: dict[str, Any]) -> Spec:
    """A spec from its JSON values; raises pydantic's ValidationError."""
    return _SPEC.validate_python(values)
