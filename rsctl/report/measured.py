"""Rows of a table: a run's counts under one certificate, a verifier's proofs, or an imported log."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

from rsctl.certificates import Certified
from rsctl.certificates.dataset_level import (
    accuracy_of_the_population,
    accuracy_of_these_images,
    wrong_claims,
)
from rsctl.config.runs import CountSpec, TableSpec, TrainSpec, VerifySpec
from rsctl.report.typeset import marked, plain
from rsctl.store.degenerate import Verdict

if TYPE_CHECKING:
    from rsctl.report.tables.families import Family

CONFIDENCE = 0.95
RHO = 0.001
"""Failure probability of statements about a whole set of images."""


@dataclass(frozen=True)
class Cell:
    """Certified accuracy at one radius, with its two-sided Clopper–Pearson interval at 95 %."""

    radius: float
    certified: int
    images: int
    worst_class: float = float("nan")
    """The smallest certified accuracy among the classes of the images."""

    @property
    def accuracy(self) -> float:
        return self.certified / self.images if self.images else float("nan")

    @cached_property
    def interval(self) -> tuple[float, float]:
        """Interval over images drawn from the same population; (0, 1) without images."""
        k, n, half = self.certified, self.images, (1 - CONFIDENCE) / 2
        low = float(betaincinv(k, n - k + 1, half)) if k else 0.0
        high = float(betaincinv(k + 1, n - k, 1 - half)) if k < n else 1.0
        return low, high


def curve(certified: Certified, labels: NDArray[Any], radii: Sequence[float]) -> list[Cell]:
    """Certified accuracy at each radius: correct and radius ≥ r; abstentions never count."""
    correct = certified.predicted == labels
    _, class_of, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    cells = []
    for r in radii:
        within = correct & (certified.radius >= r)
        hits = np.bincount(class_of[within], minlength=len(sizes))
        worst = float((hits / sizes).min()) if len(labels) else float("nan")
        cells.append(Cell(float(r), int(within.sum()), len(labels), worst))
    return cells


def average_radius(certified: Certified, labels: NDArray[Any]) -> float:
    """ACR: the mean of correct · radius, correctly summed; NaN for no images."""
    correct = certified.predicted == labels
    return math.fsum(certified.radius[correct].tolist()) / len(labels) if len(labels) else float("nan")


def subset_key(positions: NDArray[np.int64]) -> str:
    """The same for the same images, in whatever order."""
    return hashlib.sha256(np.sort(positions).astype("<i8").tobytes()).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Numbers of one run, and what qualifies them."""

    run: str
    certificate: str
    guarantee: str
    norm: str
    k: int
    images: int
    """Number of images behind the numbers: for rsctl's own runs the finished beginning of the seeded order."""
    planned: int
    cells: list[Cell]
    acr: float
    """Average certified radius: the mean of correct · radius."""
    abstain_rate: float
    cap_share: float
    """Share of images whose radius is the largest that n and alpha allow; NaN where they aren't known."""
    clean_accuracy: float = float("nan")
    """Share of images whose label PREDICT returns, at the same alpha; NaN without counts."""
    mean_draws: float = float("nan")
    """Estimation draws per image: n, or fewer where a sequential rule stopped the sampling; NaN where unknown."""
    failure: float | None = None
    """Proved failure probability of one image's radius; None where nothing is proved, or the radius is deterministic."""
    subset: str = ""
    """Description of the choice of images."""
    subset_key: str = ""
    degenerate: Verdict | None = None
    """The verdict that the network learned nothing."""

    @property
    def name(self) -> str:
        """The method with its distinguishing settings."""
        raise NotImplementedError

    @property
    def label(self) -> str:
        """The same, with a mark where the network learned nothing."""
        return marked(self.name, self.degenerate.mark if self.degenerate else "")

    @property
    def complete(self) -> bool:
        return self.images == self.planned

    @property
    def wrong_claims(self) -> int | None:
        """Upper bound, with probability 1 − `RHO`, on the number of wrongly certified images at any radius; None where unproved."""
        return (
            None if self.failure is None or not self.images else wrong_claims(self.images, self.failure, RHO)
        )

    def proved(self, cell: Cell) -> float:
        """Lower bound on robust accuracy on these images, for all radii at once with probability 1 − `RHO`; NaN if unproved."""
        if self.failure is None or not cell.images:
            return float("nan")
        return float(accuracy_of_these_images(cell.certified, cell.images, self.failure, RHO))

    def proved_of_population(self, cell: Cell) -> float:
        """The same on the population that the images sample, for this one radius with probability 1 − `RHO`; NaN if unproved."""
        if self.failure is None or not cell.images:
            return float("nan")
        return float(accuracy_of_the_population(cell.certified, cell.images, self.failure, RHO))


@dataclass(frozen=True, kw_only=True)
class OwnRow(Measured):
    """A run of this store."""

    train: TrainSpec
    recipe: str = ""
    """Key that is equal for trainings that differ in the seed alone."""
    varying: dict[str, Any] = field(default_factory=dict)
    """Settings, besides method, σ and seed, in which runs of this sweep differ."""

    source = "rsctl"

    @property
    def spec(self) -> TableSpec:
        """Spec of its table."""
        raise NotImplementedError

    @property
    def sigma(self) -> float:
        """Level of the certificate's noise, or of the training's where nothing is sampled."""
        raise NotImplementedError

    @property
    def method(self) -> str:
        return self.train.method

    @property
    def trained_sigma(self) -> float:
        """Noise level of the training."""
        return self.train.sigma

    @property
    def dataset(self) -> str:
        return self.train.dataset

    @property
    def split(self) -> str:
        return self.spec.split

    @property
    def model(self) -> str:
        return self.train.model

    @property
    def seed(self) -> int:
        return self.train.seed

    @property
    def name(self) -> str:
        told = [f"{key.split('.', 1)[-1]}={plain(v)}" for key, v in self.varying.items() if v is not None]
        return f"{self.method} ({', '.join(told)})" if told else self.method


@dataclass(frozen=True, kw_only=True)
class Row(OwnRow):
    """Counts under one certificate at one alpha."""

    count: CountSpec
    alpha: float

    @property
    def spec(self) -> CountSpec:
        return self.count

    @property
    def sigma(self) -> float:
        return self.count.sigma

    @property
    def noise(self) -> str:
        return self.count.noise

    @property
    def arithmetic(self) -> str:
        return self.count.arithmetic

    @property
    def stopping(self) -> str:
        return self.count.stopping

    @property
    def n(self) -> int:
        return self.count.n

    @property
    def n0(self) -> int:
        return self.count.n0

    @property
    def estimated(self) -> bool:
        return self.count.estimated


@dataclass(frozen=True, kw_only=True)
class ProvedRow(OwnRow):
    """The proofs of a verifier."""

    verify: VerifySpec
    undecided: list[float]
    """Share of images, at each radius of `cells`, that are classified correctly but neither proved nor refuted."""

    alpha: None = None
    n: None = None
    n0: None = None
    noise = "none"
    arithmetic = "float"
    stopping = "fixed"
    estimated = False

    @property
    def spec(self) -> VerifySpec:
        return self.verify

    @property
    def sigma(self) -> float:
        """Noise level of its training."""
        return self.train.sigma


@dataclass(frozen=True, kw_only=True)
class LoggedRow(Measured):
    """An imported log: radii as printed, or counts."""

    method: str
    dataset: str
    split: str
    model: str
    sigma: float
    noise: str
    stopping: str
    seed: int | None
    n: int | None
    n0: int | None
    alpha: float | None
    trained_sigma: float | None = None
    """Noise level of the training, where the log's path states it."""
    counted: bool = False
    """The log holds counts, from which its radii are derived."""
    told: str = ""
    """The distinguishing part of its file's path, where its metadata equals another log's."""

    source = "log"
    arithmetic = "float"
    estimated = True

    @property
    def name(self) -> str:
        """The method, the noise level of its training where it differs from the certificate's, and distinguishing settings."""
        told = [] if self.trained_sigma in (None, self.sigma) else [f"trained at σ = {self.trained_sigma:g}"]
        told += [self.told] if self.told else []
        about = ", ".join([*told, "logged counts" if self.counted else "log"])
        # In one pair of brackets, even where an exported method already has one.
        return f"{self.method[:-1]}, {about})" if self.method.endswith(")") else f"{self.method} ({about})"


AnyRow = Row | ProvedRow | LoggedRow


@dataclass(frozen=True)
class Results:
    """A sweep's rows, with notes for their readers."""

    sweep: str
    description: str
    rows: list[Row]
    notes: list[str]
    logged: list[LoggedRow] = field(default_factory=list)
    """Imported logs of the sweep."""
    proved: list[ProvedRow] = field(default_factory=list)
    """Proofs about the sweep's models."""
    families: list[Family] = field(default_factory=list)
    """Tables with sampling and proofs side by side."""
    attacked: list[Any] = field(default_factory=list)
    """Rows of attacks (`rsctl.report.attacked.AttackedRow`)."""
    broken: list[Any] = field(default_factory=list)
    """Certificates that an adversarial image contradicts (`rsctl.report.broken.Break`)."""

    @property
    def every(self) -> list[AnyRow]:
        return [*self.rows, *self.proved, *self.logged]
