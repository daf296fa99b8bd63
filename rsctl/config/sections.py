"""The tables of a sweep file. A docstring under a field is its help everywhere."""

from __future__ import annotations

import itertools
import re
from fractions import Fraction
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, JsonValue, field_validator, model_validator

from rsctl.catalog.declare import Parameters

Count = Annotated[int, Field(ge=1, lt=2**31)]  # bounds of this module are also those of the store's records
Threads = Annotated[int, Field(ge=1, le=65_536)]
Draws = Annotated[int, Field(ge=1, le=2**31 - 1)]  # counts are stored in 32 bits
Precision_ = Literal["fp32", "tf32", "bf16"]
Compile = Literal["off", "default", "graphs"]
SPECIAL: dict[str, JsonValue] = {"special": True}
"""Marks keys that few sweeps need, in the form."""
Arithmetic = Literal["float", "exact"]
Probability = Annotated[float, Field(gt=0, lt=1)]
Norm = Literal["l1", "l2", "linf"]


_ENDLESS = re.compile(r".{100}|[eE][+-]?\d{4}", re.DOTALL)
"""Exponents that no radius has, and for which an exact fraction may need gigabytes."""


def fraction(value: Any) -> Any:
    """`"2/255"` as the float nearest to it; anything else unchanged."""
    if isinstance(value, str):
        try:
            if _ENDLESS.search(value):
                raise ValueError(value)
            return float(Fraction(value))
        except (ValueError, ArithmeticError) as error:
            raise ValueError("give a number, or a fraction such as '2/255'") from error
    return value


Radius = Annotated[float, Field(ge=0, le=1e9), BeforeValidator(fraction, json_schema_input_type=float | str)]
Radii = Annotated[list[Radius], Field(max_length=10_000)]


class Certification(Parameters):
    """`[certification]`: draws, images and certificates."""

    n0: Draws = 100
    """Draws per image that select the class, and nothing else."""
    selection: Literal["noise", "clean"] = "noise"
    """Selection of the class. `noise`: n0 noisy draws choose it. `clean`: one pass over the clean image does, n0 is
    ignored, and the certificate `single-pass` applies (HeatSmoothing)."""
    n: Draws = 100_000
    """Estimation draws per image."""
    alpha: Probability = 0.001
    """Failure probability of a probabilistic certificate, per image."""
    stopping: Literal["fixed", "certify-at-radii", "radius-within"] = "fixed"
    """Rule that ends the draws of an image. `fixed`: n are made. The others test the counts during sampling, draw at most n, and need the
    certificate `sequential`: `certify-at-radii` stops once every radius of `stop_radii` is decided,
    `radius-within` once n draws would probably add no more than `stop_delta`."""
    stop_radii: Radii = Field([], examples=[[0.5]])
    """`certify-at-radii`: the radii to decide; by default those of `radii`."""
    stop_delta: Annotated[float, Field(gt=0)] = 0.02
    """`radius-within`: the distance, in the units of the images. A target, not a guarantee."""
    certificates: list[str] = ["runner-up"]
    """Certificates stored with the counts; any other can be derived later without sampling. An empty list turns sampling
    off: only `[[verification]]` and `[[attack]]` run."""
    split: Literal["test", "val"] = "test"
    """Images to certify: `test`, or `val`, a share of the training images held out for tuning. Their noise is independent of
    the test images', so that a model chosen on them can be certified on the test split with the same seed."""
    val_share: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Share of the training images that `split = "val"` holds out."""
    skip: Count = 1
    """Take every skip-th image of the split (20 in Cohen 2019 for CIFAR-10, 100 for ImageNet)."""
    start: Annotated[int, Field(ge=0, lt=2**31)] = Field(0, examples=[500])
    """Position in the split of the first image to take."""
    stop: Annotated[int, Field(ge=0, lt=2**31)] = Field(0, examples=[1000])
    """Position after the last image to take; 0 is the end of the split. MACER's images 500 to 999 are `start = 500, stop = 1000`."""
    max_images: Annotated[int, Field(ge=0, lt=2**31)] = Field(0, examples=[500])
    """Largest number of images, drawn by a seeded permutation; 0 takes all. After an increase only the new ones are sampled."""
    shards: Count = 1
    """Number of parallel tasks that share the images of one model."""
    sigma: Annotated[float, Field(gt=0, le=100)] | None = Field(None, examples=[0.25])
    """Noise level of the certificate; by default that of the training."""
    shells: list[Probability] = Field([], examples=[[0.5]])
    """Boundaries of shells of noise norm, in which draws are counted separately for the certificate `dsrs`: the ascending
    probabilities that the norm is below each boundary. `[0.5]` makes two shells of equal weight."""
    gradient: bool = Field(False, json_schema_extra=SPECIAL)
    """Also sum the noise of the draws that leave the selected class, for the certificate `second-order`. It needs
    Gaussian noise, a fixed n, and some 10,000 draws or more. It certifies more than `cohen`; `runner-up` certifies more still
    where several classes share the remaining probability."""
    arithmetic: Arithmetic = "float"
    """Arithmetic of the noisy inputs. `exact`: inputs are rounded to whole pixel values (k/255) and discrete Gaussian noise is drawn in integers, so that no
    rounding error separates the counts from the theorem (Voráček, Hein 2023). `float` adds float32 noise, as published
    code does."""
    seed: Annotated[int, Field(ge=0)] = Field(0, examples=[1])
    """Seed of the noise draws and of the image order."""
    transfer: Annotated[int, Field(ge=0, lt=2**31)] = Field(0, examples=[10_000], json_schema_extra=SPECIAL)
    """Number of fresh draws per image that also go through the network in fp32, with `precision.certification = "bf16"` or
    `"tf32"`. The certificate `transfer` then holds for the fp32 network, at the other's speed and with slightly smaller radii."""
    extras: dict[str, dict[str, Any]] = {}
    """Measurements of plugins, each with a table of its parameters such as `[certification.extras.margin]`; empty for the defaults."""
    tile: Annotated[int, Field(ge=1)] | Literal["auto"] = 400
    """Images per forward pass, always padded to this number: part of the executed function. A multiple of `block`. `auto`
    is 400 on a CPU; on a GPU the first task of a table times several sizes for a few seconds, and all its tasks use the fastest."""
    block: Count = 100
    """Draws per call of the random generator, never split."""
    compile: Compile = Field("off", json_schema_extra=SPECIAL)
    """Compilation of the network. `default`: by torch.compile for the tile's shape; each task compiles once, for about half a
    minute. `graphs`: also record a CUDA graph (GPU only). On the CPUs measured `off` was as fast or faster."""
    radii: Radii = [0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0]
    """Radii of the table's columns, in the norms of the certificates; fractions such as `"2/255"` are allowed. The default ones
    end at the largest radius that sigma, n and alpha allow."""

    @model_validator(mode="after")
    def _consistent(self) -> Certification:
        if self.tile != "auto" and self.tile % self.block:
            raise ValueError(f"tile = {self.tile} is not a multiple of block = {self.block}")
        if self.stop and self.stop <= self.start:
            raise ValueError(f"stop = {self.stop} is not above start = {self.start}")
        return self

    @field_validator("certificates", "radii")
    @classmethod
    def _each_once(cls, value: list[Any]) -> list[Any]:
        if len(set(value)) != len(value):
            raise ValueError("values must be unique")
        return value

    @field_validator("radii")
    @classmethod
    def _some(cls, value: list[Any]) -> list[Any]:
        if not value:
            raise ValueError("give at least one")
        return value

    @field_validator("shells")
    @classmethod
    def _ascending(cls, value: list[float]) -> list[float]:
        if any(after <= before for before, after in itertools.pairwise(value)):
            raise ValueError("the shares must ascend, each once")
        return value


class ImageTable(Parameters):
    """Keys of both `[[verification]]` and `[[attack]]`; they take the images of `[certification]`, in its order."""

    norm: Norm
    """Norm of the radii or distances."""
    max_images: Annotated[int, Field(ge=0, lt=2**31)] | None = Field(None, examples=[100])
    """Largest number of images, the first ones of the same order; by default `certification.max_images`."""
    shards: Count | None = Field(None, examples=[4])
    """Parallel tasks that share the images of one model; by default `certification.shards`."""
    keep_images: bool = True
    """Store the adversarial images found, so that they can be checked."""


class Verification(ImageTable):
    """`[[verification]]`: radii proved without sampling. The verifier's own parameters are keys of the same table."""

    verifier: str = Field(examples=["crown"])
    """Verifier to run."""
    norm: Norm = "linf"
    """Norm of the proved radii."""
    radii: Radii = Field([], examples=[["2/255", 0.1]])
    """Radii to prove, such as `["2/255", 0.1]`: the columns of its table, and of attacks in this norm. By default the
    verifier searches for the largest radius, and the columns are the other radii of the file in this norm."""


class AttackTable(ImageTable):
    """`[[attack]]`: a search for adversarial images. The attack's own parameters are keys of the same table."""

    attack: str = Field(examples=["pgd"])
    """Attack to run."""
    norm: Norm = "l2"
    """Norm of the perturbation."""
    target: Literal["base", "smoothed", "cascade"] = "base"
    """Classifier to attack. `base`: the network itself. `smoothed`: the smoothed classifier with the noise of `[certification]`.
    `cascade`: each cascade of the file's `[[cascade]]` tables."""
    noises: Count = 32
    """`smoothed`, `cascade`: noisy copies per gradient, at each level."""
    n: Draws = 1000
    """`smoothed`, `cascade`: draws that confirm an adversarial image, at each level, as PREDICT does."""
    alpha: Probability = 0.001
    """`smoothed`, `cascade`: failure probability of this confirmation."""


class Precision(Parameters):
    """`[precision]`: floating-point precision of the network; a certificate holds for the function as executed."""

    training: Precision_ = "fp32"
    """Precision of training: `fp32` (TF32 off), `tf32` or `bf16` (autocast; several times faster on GPUs and CPUs with bf16 units)."""
    certification: Precision_ = "fp32"
    """Precision of sampling, with the same choices; noise is always drawn and added in fp32, the cast is inside the classifier."""


class StageResources(Parameters):
    """`[resources.training]`, `[resources.certification]`: resources of one task of the stage."""

    threads: Threads = 1
    """CPU threads. Training is bitwise reproducible only with the same number. More than one helps only on idle cores: on a
    shared machine threads wait for one another at every layer, and a training can be many times slower."""
    gpus: Annotated[int, Field(ge=0, lt=2**31)] | Literal["auto"] = "auto"
    """GPUs per task; `auto` is one if the machine has any."""
    processes: Threads = 1
    """Training processes (one per GPU); the batch is shared among them."""
    nodes: Count = 1
    """Cluster nodes across which the training processes are distributed."""
    workers: Annotated[int, Field(ge=0, lt=2**31)] = 4
    """Image-decoding processes, for data sets that don't fit in memory."""
    memory_gb: Annotated[float, Field(gt=0, le=1e6)] | None = Field(None, examples=[16])
    """Memory of the task in GB, for schedulers that need it."""
    minutes: Count | None = Field(None, examples=[240])
    """Time limit of the task in minutes, for schedulers that need it."""


class Resources(Parameters):
    """`[resources]`: one table per stage."""

    training: StageResources = StageResources()
    """Resources of a training task."""
    certification: StageResources = StageResources()
    """Resources of a certification task (one shard)."""
    verification: StageResources = StageResources()
    """Resources of a verification task (one shard)."""
    attack: StageResources = StageResources()
    """Resources of an attack task (one shard)."""
