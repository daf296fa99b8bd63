"""The tables of a sweep file. A docstring under a field is its help everywhere."""

from __future__ import annotations

import itertools
import re
from fractions import Fraction
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from rsctl.catalog.declare import Parameters

Count = Annotated[int, Field(ge=1, lt=2**31)]  # bounds of this module are also those of the store's records
Threads = Annotated[int, Field(ge=1, le=65_536)]
Draws = Annotated[int, Field(ge=1, le=2**31 - 1)]  # counts are stored in 32 bits
Precision_ = Literal["fp32", "tf32", "bf16"]
Compile = Literal["off", "default", "graphs"]
Arithmetic = Literal["float", "exact"]
Probability = Annotated[float, Field(gt=0, lt=1)]
Norm = Literal["l1", "l2", "linf"]


_ENDLESS = re.compile(r".{100}|[eE][+-]?\d{4}", re.DOTALL)
"""Exponents for which an exact fraction may need gigabytes, and that no radius has."""


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


Radius = Annotated[float, Field(ge=0, le=1e9), BeforeValidator(fraction)]
Radii = Annotated[list[Radius], Field(max_length=10_000)]


class Certification(Parameters):
    """`[certification]`: how many draws, which images, which certificates."""

    n0: Draws = 100
    """Selection draws per image: they choose the class and nothing else."""
    selection: Literal["noise", "clean"] = "noise"
    """`noise`: n0 noisy draws choose the class. `clean`: the class is that of one pass over the image as it is,
    n0 plays no part, and the certificate `single-pass` applies (HeatSmoothing)."""
    n: Draws = 100_000
    """Estimation draws per image."""
    alpha: Probability = 0.001
    """Failure probability of a probabilistic certificate, per image."""
    stopping: Literal["fixed", "certify-at-radii", "radius-within"] = "fixed"
    """`fixed` draws n per image. The others look at the counts while they draw, n at the most, and need the
    certificate `sequential`: `certify-at-radii` stops once every radius of `stop_radii` is settled,
    `radius-within` once n draws would probably add no more than `stop_delta`."""
    stop_radii: Radii = []
    """`certify-at-radii`: the radii to settle; by default those of `radii`."""
    stop_delta: Annotated[float, Field(gt=0)] = 0.02
    """`radius-within`: the distance, in the units of the images. A target, not a guarantee."""
    certificates: list[str] = ["runner-up"]
    """Which certificates to write beside the counts; any other can be derived later without sampling. An empty list samples
    nothing: only `[[verification]]` and `[[attack]]` are done."""
    split: Literal["test", "val"] = "test"
    """`val` holds out a share of the training images for tuning; training then leaves them alone. Its noise is not that of the
    test images, so that what it chooses can be certified on them with the same seed."""
    val_share: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Share of the training images that `split = "val"` holds out."""
    skip: Count = 1
    """Take every skip-th image of the split (20 in Cohen 2019 for CIFAR-10, 100 for ImageNet)."""
    start: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Position of the first image of the split that is taken."""
    stop: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Position before which the last one lies; 0 goes to the end. `start = 500, stop = 1000` are the images 500 to 999 of MACER."""
    max_images: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """At most this many images, drawn by a seeded permutation; 0 takes all. Raising it samples only the new ones."""
    shards: Count = 1
    """Parallel tasks that share the images of one model."""
    sigma: Annotated[float, Field(gt=0, le=100)] | None = None
    """Noise level of the certificate, if it is to differ from the training noise."""
    shells: list[Probability] = []
    """Count draws apart by the norm of their noise, as the certificate `dsrs` needs: the shares of all noise that
    lie below each boundary, ascending. `[0.5]` makes two shells of equal weight."""
    gradient: bool = False
    """Also sum up the noise of the draws that leave the selected class, as the certificate `second-order` needs. For
    Gaussian noise and a fixed n, from some 10,000 draws on. It certifies more than `cohen`; `runner-up` more still where
    several classes share what the first one leaves."""
    arithmetic: Arithmetic = "float"
    """`exact`: f sees its input rounded to whole pixel values (k/255), and Gaussian noise is drawn in such, in integers. Then
    nothing is rounded between the theorem and what is counted (Voráček, Hein 2023); `float` adds float32 noise, as the
    published code does."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the noise draws and of the order of images."""
    transfer: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """With `precision.certification = "bf16"` or `"tf32"`: so many fresh draws per image also go through the network in fp32. The
    certificate `transfer` then speaks of the fp32 network, at the other's speed, for a radius that is a little smaller."""
    extras: dict[str, dict[str, Any]] = {}
    """Measurements of plugins, one table of parameters each: `[certification.extras.margin]`. An empty one takes the defaults."""
    tile: Annotated[int, Field(ge=1)] | Literal["auto"] = 400
    """Images per forward pass, always padded to it: part of what defines the executed function. A multiple of `block`. `auto`
    is 400 on a CPU; on a GPU the first task of a table times several, for seconds, and all of the table take the fastest."""
    block: Count = 100
    """Draws that are made in one call and never split."""
    compile: Compile = "off"
    """`default`: the network through torch's compiler, for tiles of this one shape; each task compiles once, about half a
    minute. `graphs`: recorded as a CUDA graph besides, on a GPU alone. On CPUs measured here `off` was as fast or faster."""
    radii: Radii = [0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0]
    """Radii of the table's columns, in the norms of the certificates; `"2/255"` is a number too. The default ones end where
    sigma, n and alpha allow none."""

    @model_validator(mode="after")
    def _consistent(self) -> Certification:
        if self.tile != "auto" and self.tile % self.block:
            raise ValueError(f"tile = {self.tile} is not a multiple of block = {self.block}")
        return self

    @model_validator(mode="after")
    def _some_between(self) -> Certification:
        if self.stop and self.stop <= self.start:
            raise ValueError(f"stop = {self.stop} is not above start = {self.start}")
        return self

    @field_validator("certificates", "radii")
    @classmethod
    def _each_once(cls, value: list[Any]) -> list[Any]:
        if len(set(value)) != len(value):
            raise ValueError("give each once")
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
    """What `[[verification]]` and `[[attack]]` have in common: they take the images of `[certification]`, in its order."""

    norm: Norm
    """In which norm."""
    max_images: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    """At most this many images; by default as many as `certification.max_images` says, and the first ones of the same order."""
    shards: Count | None = None
    """Parallel tasks that share the images of one model; by default `certification.shards`."""
    keep_images: bool = True
    """Store the adversarial images that were found, so that anybody can check them."""


class Verification(ImageTable):
    """`[[verification]]`: radii proved without sampling. The verifier's own parameters stand beside these."""

    verifier: str
    """Which one."""
    norm: Norm = "linf"
    """In which norm."""
    radii: Radii = []
    """What has to be settled, such as `["2/255", 0.1]`; the columns of its table, and of attacks in this norm. Left out, the
    largest radius that can be proved is looked for, and the columns are what else the file asks about in this norm."""


class AttackTable(ImageTable):
    """`[[attack]]`: a search for adversarial images. The attack's own parameters stand beside these."""

    attack: str
    """Which one."""
    norm: Norm = "l2"
    """Whose distance is kept small."""
    target: Literal["base", "smoothed"] = "base"
    """The network itself, or the smoothed classifier with the noise of `[certification]`."""
    noises: Count = 32
    """`smoothed`: noisy copies per gradient."""
    n: Draws = 1000
    """`smoothed`: draws that confirm what was found, like PREDICT."""
    alpha: Probability = 0.001
    """`smoothed`: failure probability of such a confirmation."""


class Precision(Parameters):
    """`[precision]`: the arithmetic, explicit because a certificate is for the function as executed."""

    training: Precision_ = "fp32"
    """`fp32` (TF32 off), `tf32` or `bf16` (autocast; several times faster on GPUs and CPUs with bf16 units)."""
    certification: Precision_ = "fp32"
    """Likewise; noise is always drawn and added in fp32, the cast is inside the classifier."""


class StageResources(Parameters):
    """`[resources.training]`, `[resources.certification]`: what one task of the stage gets."""

    threads: Threads = 1
    """CPU threads. Training repeats bit by bit only for the same number; more than one pay where nobody else uses the cores
    (a busy neighbour makes a training with two threads many times slower: its threads wait for one another at every layer)."""
    gpus: Annotated[int, Field(ge=0, lt=2**31)] | Literal["auto"] = "auto"
    """GPUs per task; `auto` is one where the machine has any."""
    processes: Threads = 1
    """Training processes (one per GPU); the batch is shared among them."""
    nodes: Count = 1
    """Nodes of a cluster that the training processes are spread over."""
    workers: Annotated[int, Field(ge=0, lt=2**31)] = 4
    """Processes that decode images, for data sets that don't fit in memory."""
    memory_gb: Annotated[float, Field(gt=0, le=1e6)] | None = None
    """Memory of the task, for schedulers that ask."""
    minutes: Count | None = None
    """Time limit of the task, for schedulers that ask."""


class Resources(Parameters):
    """`[resources]`: one table per stage."""

    training: StageResources = StageResources()
    """What a training task gets."""
    certification: StageResources = StageResources()
    """What a certification task (one shard) gets."""
    verification: StageResources = StageResources()
    """What a verification task (one shard) gets."""
    attack: StageResources = StageResources()
    """What an attack task (one shard) gets."""
