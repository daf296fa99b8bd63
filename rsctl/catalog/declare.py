"""Classes of declarations: methods, models, data sets, verifiers and attacks.

A declaration is data. From it come validation, the grid, help texts, forms and documentation; the code
that does the work is named as text and imported only by a task (``implementation``), so nothing here
needs torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict


class Parameters(BaseModel):
    """Base of every table a user writes: strict types, no unknown key, a docstring under each field is its help."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        validate_default=True,
    )


class NoParameters(Parameters):
    """Nothing to set."""


@dataclass(frozen=True)
class Defaults:
    """Values that a paper (or its code) uses for one data set and noise level; `None` matches any."""

    values: Mapping[str, Any]
    """Field name → value; fields of the method's parameters and of the training recipe alike."""
    source: str
    """Source of the values: paper and table, or repository and file."""
    dataset: str | None = None
    sigma: float | None = None

    def matches(self, dataset: str, sigma: float) -> bool:
        return self.dataset in (None, dataset) and self.sigma in (None, sigma)


@dataclass(frozen=True, kw_only=True)
class Explained:
    """Texts of a declaration for `rsctl explain`, the dashboard's lists and the JSON Schema; a plugin may leave them out."""

    about: str = ""
    """Two sentences for a reader who has never heard of it."""
    use_when: str = ""
    """One sentence: a reason to choose it."""
    example: Mapping[str, Any] = field(default_factory=dict)
    """Keys of a sweep file that its example needs beside its name: `{"certification.shells": [0.5]}`."""
    special: bool = False
    """Few sweeps need it: marked in the dashboard's lists."""

    @property
    def module(self) -> str:
        """Module with its code: `implementation`, by default the file of its name."""
        named: Any = self
        return str(named.implementation or f"{named.room}.{named.name.replace('-', '_')}")


@dataclass(frozen=True)
class Method(Explained):
    """A way to train a base classifier."""

    name: str
    title: str
    citation: str
    revision: int
    """Part of a model's identity: raise it when the loss changes what it computes."""
    parameters: type[Parameters] = NoParameters
    defaults: tuple[Defaults, ...] = ()
    """Later entries win where several match."""
    printed_for: tuple[str, ...] = ()
    """Data sets that the recipe of entries without a data set is for; empty: it is for any, if it says the epochs. The others
    get the recipe of `rsctl.catalog.fitted`."""
    parents: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Models that must be trained first, by role: `start` gives the first weights, `teacher` is learned from.
    Each is a `[method]` table; it may also name `sigma`, `seed` and `model`, by default those of the run itself."""
    predictions: str = ""
    """Hyper-parameter with the number of draws of the teacher's predictions, a run of their own (`rsctl.catalog.predictions`)."""
    implementation: str = ""
    """Module with the loss; by default `jobs.methods.<name>`."""
    model: str = ""
    """The model that it trains and no other method does; that one contains the network of the parent `teacher`."""
    splitting: bool = False
    """True if all it does to an image is to add `state.noise()` to it: then it can also train with splitting noise, which replaces
    the image."""
    passes: Callable[[Mapping[str, Any], int], float] = lambda parameters, _: parameters.get("noises", 1)
    """Passes of a batch through the network whose activations are kept for one pass back, of (hyper-parameters, classes):
    memory goes with it."""

    room: ClassVar = "jobs.methods"

    def default_values(self, dataset: str, sigma: float) -> dict[str, Any]:
        """The recipe and hyper-parameters the paper uses here, before the user's own values."""
        return {key: value for key, (value, _) in self.sourced_defaults(dataset, sigma).items()}

    def sourced_defaults(self, dataset: str, sigma: float) -> dict[str, tuple[Any, str]]:
        """The same, each with its source."""
        return {
            key: (value, entry.source)
            for entry in self.defaults
            if entry.matches(dataset, sigma)
            for key, value in entry.values.items()
        }


@dataclass(frozen=True)
class ModelTask(Explained):
    """A task whose run lies among the models though it trains nothing: its module's `main(work)` writes what others need."""

    name: str
    """Takes the place of a method's name in the run's spec."""
    title: str
    citation: str
    revision: int
    parameters: type[Parameters]
    implementation: str
    """Module with `main(work)`."""


@dataclass(frozen=True)
class Verifier(Explained):
    """A way to prove radii without sampling. Its module has ``prepare`` (see `jobs.verifiers`)."""

    name: str
    title: str
    citation: str
    revision: int
    """Part of a result's identity: raise it when it proves something else."""
    norms: tuple[str, ...]
    """Norms it can prove radii in: `linf`, `l2`, `l1`."""
    rounding: str
    """Treatment of rounding, shown in every label: `rounded outward`, or the reason why a proof holds only up to rounding."""
    parameters: type[Parameters] = NoParameters
    complete: bool = False
    """True if, given the time, it decides every radius: by a proof, or a counterexample."""
    implementation: str = ""
    """Module with `prepare`; by default `jobs.verifiers.<name>`."""

    room: ClassVar = "jobs.verifiers"


@dataclass(frozen=True)
class Attack(Explained):
    """A way to search for adversarial images. Its module has ``prepare`` (see `jobs.attacks`)."""

    name: str
    title: str
    citation: str
    revision: int
    """Part of a result's identity: raise it when it searches differently."""
    norms: tuple[str, ...]
    """Norms whose distance it keeps small."""
    parameters: type[Parameters] = NoParameters
    implementation: str = ""
    """Module with `prepare`; by default `jobs.attacks.<name>`."""

    room: ClassVar = "jobs.attacks"


@dataclass(frozen=True)
class Model(Explained):
    """An architecture. `build` of its module makes it: (classes, channels, size, **parameters) → nn.Module."""

    name: str
    title: str
    citation: str
    parameters: type[Parameters] = NoParameters
    smallest: int = 1
    """The smallest image side it takes, in pixels."""
    rate: float = 0.03
    """Peak learning rate of SGD with batches of 64 for data sets without a published recipe: what trains a network without
    normalisation."""
    implementation: str = ""
    """Module with `build`; by default `jobs.models.architectures.<name>`."""
    shorthand: str = ""
    """The parameter that `name:value` gives: with `architecture`, "timm:resnet18" is name = "timm", architecture = "resnet18"."""
    package: str = ""
    """A package beyond rsctl's own requirements that builds it."""
    pixels: bool = False
    """True if the network takes images in [0, 1] as they are, and normalises them itself."""
    complete: Callable[[dict[str, Any]], dict[str, Any]] | None = None
    """Adds to the parameters what files on this machine say of the network; raises InputError."""

    room: ClassVar = "jobs.models.architectures"


@dataclass(frozen=True)
class DataSet(Explained):
    """Images with labels, in splits `train` and `test`."""

    name: str
    title: str
    citation: str
    channels: int
    size: int | None
    """Side in pixels after the loader's transform; None where a parameter gives it."""
    classes: int | None
    """Number of classes; None where the folder determines it."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """Images per split, where they are known without reading files."""
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    """Mean and standard deviation of the training images in [0, 1]; the model's first layer normalises with them."""
    augmentation: str = "none"
    """`none`, `crop-flip` (pad 4, random crop, mirror) or `resized-crop-flip` (ImageNet's)."""
    parameters: type[Parameters] = NoParameters
    in_memory: bool = True
    """Small sets live as uint8 tensors; large ones are decoded by workers."""
    where: str = ""
    """Expected files below the data root, for the message when they are missing."""
    paths: tuple[str, ...] = ()
    """Files or folders below the data root that show it is there."""
    layout: Callable[[Path, int], str] | None = None
    """(data root, number of classes) → problems of the existing folders, without opening a file."""
    inspect: Callable[[Path, Any], DataShape] | None = None
    """Inspects the files (no decoding) for `classes` and `counts` that the declaration leaves open."""
    implementation: str = "jobs.data.sets"
    """Module with `read`."""
    room: ClassVar = "jobs.data"


@dataclass(frozen=True)
class Column:
    """An array that is kept of each image."""

    kind: Literal["i4", "i8", "f4", "f8"]
    shape: tuple[int | Literal["classes", "dimension"], ...] = ()
    """Its sides: numbers, the number of classes, or that of an image's coordinates; empty for a single number."""

    def sides(self, classes: int, dimension: int) -> tuple[int, ...]:
        """The shape for images of so many classes and coordinates."""
        known = {"classes": classes, "dimension": dimension}
        return tuple(known[side] if isinstance(side, str) else side for side in self.shape)


@dataclass(frozen=True)
class Extra:
    """A measurement that the sampler makes of each image's estimation draws beside counting their classes."""

    name: str
    implementation: str
    """The module that holds its `RECORDER` (`jobs.certify.recorders`); only a task imports it."""
    columns: Mapping[str, Column]
    """Columns of each finished image; a certificate finds them as `table.extras[name][column]`."""
    under_way: Mapping[str, Column] | None = None
    """Columns of an image that is still being sampled; None for the same ones."""
    parameters: type[Parameters] = NoParameters
    """The keys of `[certification.extras.<name>]`."""
    revision: int = 1
    """Part of a table's identity: raise it when the recorder changes what it measures."""

    @property
    def sampled(self) -> Mapping[str, Column]:
        """The columns of an image that is being sampled."""
        return self.columns if self.under_way is None else self.under_way


@dataclass(frozen=True)
class DataShape:
    """Contents of a data set on this machine."""

    channels: int
    size: int
    classes: int
    counts: Mapping[str, int]
    class_names: tuple[str, ...] = ()
    fingerprint: str = ""
    """Fingerprint of the files of both splits where the name doesn't identify them, as older versions used it."""
    deep: int = 0
    """Grey files of more than 8 bits, which are brought to 8."""
    splits: Mapping[str, str] = field(default_factory=dict)
    """Fingerprint of each split: a model trained on other images is another model, whatever its test images."""
    left_out: str = ""
    """A sentence on the files that are ignored."""
    nested: bool = False
    """True if images also lie in subfolders of the class folders."""

    def files(self, split: str) -> str:
        """The fingerprint of a split; that of both where no other is known."""
        return self.splits.get(split, self.fingerprint)

    @property
    def dimension(self) -> int:
        """d, the coordinates of an image."""
        return self.channels * self.size**2

    def held_bytes(self, images: int) -> int:
        """Bytes in memory of this many images."""
        return images * self.dimension
