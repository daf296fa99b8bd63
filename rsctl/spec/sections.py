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
    """Draws per image that select the class, and nothing else."""
    selection: Literal["noise", "clean"] = "noise"
    """`noise`: n0 noisy draws select the class. `clean`: one pass over the clean image selects it, n0 is unused,
    and the certificate `single-pass` applies (HeatSmoothing)."""
    n: Draws = 100_000
    """Estimation draws per image."""
    alpha: Probability = 0.001
    """Failure probability of a probabilistic certificate, per image."""
    stopping: Literal["fixed", "certify-at-radii", "radius-within"] = "fixed"
    """`fixed` draws n per image. The others check the counts while sampling, draw n at most, and need the
    certificate `sequential`: `certify-at-radii` stops once every radius in `stop_radii` is decided,
    `radius-within` once all n draws would probably add no more than `stop_delta`."""
    stop_radii: Radii = []
    """`certify-at-radii`: radii to decide; by default those in `radii`."""
    stop_delta: Annotated[float, Field(gt=0)] = 0.02
    """`radius-within`: the distance, in the units of the images. A target, not a guarantee."""
    certificates: list[str] = ["runner-up"]
    """Certificates to write beside the counts; any other can be computed later without sampling. An empty list samples
    nothing: only `[[verification]]` and `[[attack]]` run."""
    split: Literal["test", "val"] = "test"
    """`val` holds out a share of the training images for tuning; models aren't trained on them. Its noise differs from that of
    the test images, so that settings tuned on it can be certified on them with the same seed."""
    val_share: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Share of the training images that `split = "val"` holds out."""
    skip: Count = 1
    """Take every skip-th image of the split (20 in Cohen 2019 for CIFAR-10, 100 for ImageNet)."""
    start: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Position of the first image to use in the split."""
    stop: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Position after the last image to use; 0 means the end. `start = 500, stop = 1000` selects images 500 to 999, as MACER does."""
    max_images: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Maximum number of images, drawn by a seeded permutation; 0 takes all. Raising it samples only the new ones."""
    shards: Count = 1
    """Parallel tasks that share the images of one model."""
    sigma: Annotated[float, Field(gt=0, le=100)] | None = None
    """Noise level of certification, if different from training."""
    shells: list[Probability] = []
    """Count draws separately by the norm of their noise, as the certificate `dsrs` needs: the probability of a smaller
    norm at each boundary, ascending. `[0.5]` makes two shells of equal weight."""
    gradient: bool = False
    """Also sum the noise of the draws that miss the selected class, as the certificate `second-order` needs. For
    Gaussian noise and a fixed n of at least some 10,000 draws. It certifies more than `cohen`; `runner-up` certifies even
    more where several classes share the remaining draws."""
    arithmetic: Arithmetic = "float"
    """`exact`: inputs of f are rounded to whole pixel values (k/255), and Gaussian noise is drawn as integer multiples of
    them, so that nothing is rounded between the theorem and the counts (Voráček, Hein 2023). `float` adds float32 noise,
    as published code does."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the noise draws and of the image order."""
    transfer: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """With `precision.certification = "bf16"` or `"tf32"`: number of fresh draws per image that also go through the network in
    fp32. The certificate `transfer` then holds for the fp32 network, at the other's speed, with a slightly smaller radius."""
    tile: Annotated[int, Field(ge=1)] | Literal["auto"] = 400
    """Images per forward pass, always padded to this size: part of the definition of the executed function. A multiple of
    `block`. `auto` is 400 on a CPU; on a GPU the first task of a table times several sizes for a few seconds, and all of
    its tasks use the fastest."""
    block: Count = 100
    """Draws that are sampled in one call and never split."""
    compile: Compile = "off"
    """`default`: compile the network with torch.compile for tiles of this shape; each task compiles once, for about half a
    minute. `graphs`: also record a CUDA graph, on GPUs only. On the CPUs measured, `off` was as fast or faster."""
    radii: Radii = [0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0]
    """Radii of the table's columns, in the norms of the certificates; fractions such as `"2/255"` are allowed. The defaults
    stop at the largest that sigma, n and alpha allow."""

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
    """Norm of the radii."""
    max_images: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    """Maximum number of images, the first ones in the same order; by default `certification.max_images`."""
    shards: Count | None = None
    """Parallel tasks that share the images of one model; by default `certification.shards`."""
    keep_images: bool = True
    """Store the adversarial images found, so that anyone can check them."""


class Verification(ImageTable):
    """`[[verification]]`: radii proved without sampling. The verifier's own parameters stand beside these."""

    verifier: str
    """Verifier to run."""
    norm: Norm = "linf"
    """Norm of the certified radii."""
    radii: Radii = []
    """Radii to decide, such as `["2/255", 0.1]`; also the columns of its table, and of attacks in this norm. If left out, the
    largest provable radius is searched for, and the columns are the other radii that the file has in this norm."""


class Attack(ImageTable):
    """`[[attack]]`: a search for adversarial images. The attack's own parameters stand beside these."""

    attack: str
    """Attack to run."""
    norm: Norm = "l2"
    """Norm of the perturbation."""
    target: Literal["base", "smoothed"] = "base"
    """The network itself, or the smoothed classifier with the noise of `[certification]`."""
    noises: Count = 32
    """`smoothed`: noisy copies per gradient."""
    n: Draws = 1000
    """`smoothed`: draws that confirm an adversarial image, as PREDICT does."""
    alpha: Probability = 0.001
    """`smoothed`: failure probability of this confirmation."""


class Precision(Parameters):
    """`[precision]`: the arithmetic, explicit because a certificate is for the function as executed."""

    training: Precision_ = "fp32"
    """`fp32` (TF32 off), `tf32` or `bf16` (autocast; several times faster on GPUs and CPUs with bf16 units)."""
    certification: Precision_ = "fp32"
    """The same choices; noise is always drawn and added in fp32, the cast is inside the classifier."""


class StageResources(Parameters):
    """`[resources.training]`, `[resources.certification]`: what one task of the stage gets."""

    threads: Threads = 1
    """CPU threads. Training is bitwise repeatable only with the same number. More than one is faster only on idle cores: on a
    busy machine training with two threads can be many times slower, as they wait for each other at every layer."""
    gpus: Annotated[int, Field(ge=0, lt=2**31)] | Literal["auto"] = "auto"
    """GPUs per task; `auto` is one where the machine has any."""
    processes: Threads = 1
    """Training processes (one per GPU); the batch is shared among them."""
    nodes: Count = 1
    """Nodes of a cluster that the training processes are spread over."""
    workers: Annotated[int, Field(ge=0, lt=2**31)] = 4
    """Processes that decode images, for data sets that don't fit in memory."""
    memory_gb: Annotated[float, Field(gt=0, le=1e6)] | None = None
    """Memory of the task, for schedulers that require a request."""
    minutes: Count | None = None
    """Time limit of the task, for schedulers that require one."""


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
