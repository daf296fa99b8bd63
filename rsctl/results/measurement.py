"""One run scored under one certificate: counts, proofs of a verifier, distances of an attack, or an imported log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial, reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rsctl.certificates import Certified
from rsctl.certificates.cascade import levels_text
from rsctl.certificates.dataset_level import (
    accuracy_of_the_population,
    accuracy_of_these_images,
    wrong_claims,
)
from rsctl.config.runs import TableSpec, TrainSpec
from rsctl.results.accuracy import Cell
from rsctl.results.rounding import arrows, marked, plain
from rsctl.store.degenerate import Verdict
from rsctl.store.imports import ImportSpec, ShownImport
from rsctl.store.rows import Rows
from rsctl.store.tables import StoredTable
from rsctl.store.tuned import Tuning
from rsctl.text import counted

RHO = 0.001
"""Failure probability of statements about a whole set of images."""
BROKEN = "BROKEN certificates"
"""Key among the distinguishing settings: the number of certificates that an attack contradicts."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Measurement:
    """The finished images of one run under one certificate, and what qualifies them.

    Arrays have shape (N,), ascending in `index`.
    """

    run: str
    kind: str
    """`counts`, `verifications`, `attacks`, `imports` or `cascades`."""
    spec: TableSpec | ImportSpec
    train: TrainSpec | None = None
    """Spec of the training; None for a log."""
    certificate: str
    """Name of the certificate, verifier or attack."""
    guarantee: str
    norm: str
    k: int = 1
    alpha: float | None = None
    failure: float | None = None
    """Proved failure probability of one image's radius; None where nothing is proved, or the radius is deterministic."""

    index: NDArray[np.int64]
    """Positions in the data split."""
    labels: NDArray[np.int32]
    seconds: NDArray[np.float64]
    certified: Certified
    distance: NDArray[np.float64] | None = None
    """Distance of the nearest known adversarial image, of a verifier or an attack: inf where none is known."""
    agreement: NDArray[np.float64] | None = None
    """Share of the draws that give the label; None where nothing was counted here."""

    planned: int
    """Images requested; for a log those that it holds."""
    subset: str = ""
    """Description of the choice of images."""
    subset_key: str = ""
    cells: list[Cell]
    acr: float
    """Average certified radius: the mean of correct · radius; NaN where only single radii were decided."""
    abstain_rate: float
    cap_share: float
    """Share of images whose radius is the largest that n and alpha allow; NaN where they aren't known."""
    clean_accuracy: float = float("nan")
    """Share of images whose label PREDICT returns, at the same alpha; NaN without counts."""
    mean_draws: float = float("nan")
    """Estimation draws per image: n, or fewer where a sequential rule stopped the sampling; NaN where unknown."""
    undecided: list[float] = field(default_factory=list)
    """Share of images, at each radius, that a verifier neither proved nor refuted, though they are classified correctly."""

    recipe: str = ""
    """Key that is equal for trainings that differ in the seed alone."""
    varying: dict[str, Any] = field(default_factory=dict)
    """Settings, besides method, σ and seed, in which runs of this sweep differ."""
    path_part: str = ""
    """The distinguishing part of a log's path, where its metadata equals another log's."""
    degenerate: Verdict | None = None
    """The verdict that the network learned nothing."""
    checkpoint: str = ""
    """SHA-256 of the network's weights; empty for a log."""
    problems: Sequence[str] = ()
    """Files of the run that couldn't be used; their images are missing."""
    table: StoredTable[Rows] | None = None
    """The counts, as long as they are needed."""
    logged: ShownImport | None = None
    levels: Sequence[Measurement] = ()
    """Levels of a cascade, in its order; `spec` and `train` are those of the last one."""
    taus: Sequence[float] = ()
    """Threshold of each level of a cascade but the last."""
    tuning: Tuning | None = None
    """Known origin of a cascade's levels and thresholds."""
    level_names: tuple[str, ...] = ()
    """Names of the levels of a cascade where they differ in more than σ."""

    @property
    def own(self) -> bool:
        """True for a run of this store, False for an imported log."""
        return self.kind != "imports"

    @property
    def source(self) -> str:
        return "rsctl" if self.own else "log"

    @property
    def training(self) -> TrainSpec:
        """Spec of the training of an own run."""
        assert self.train is not None
        return self.train

    @property
    def table_spec(self) -> TableSpec:
        """Spec of an own run."""
        assert isinstance(self.spec, TableSpec)
        return self.spec

    @property
    def _about(self) -> TrainSpec | ImportSpec:
        return self.spec if isinstance(self.spec, ImportSpec) else self.training

    @property
    def method(self) -> str:
        return self._of_levels("method") or self._about.method

    @property
    def dataset(self) -> str:
        return self._about.dataset

    @property
    def model(self) -> str:
        return self._of_levels("model") or (
            self._about.network if isinstance(self._about, TrainSpec) else self._about.model
        )

    def _of_levels(self, key: str) -> str:
        """`a → b` for a cascade whose levels differ in this; empty otherwise."""
        values = [str(getattr(one, key)) for one in self.levels]
        return " → ".join(values) if len(set(values)) > 1 else ""

    @property
    def seed(self) -> int | None:
        """Training seed; None where a log's path doesn't state it, or the levels of a cascade differ in it."""
        return None if self._of_levels("seed") else self._about.seed

    @property
    def split(self) -> str:
        return self.spec.split

    @property
    def sigma(self) -> float:
        """Level of the sampled noise, or of the training's where nothing is sampled; of a cascade that of its last level."""
        return getattr(self.spec, "sigma", 0.0) or self._about.sigma

    @property
    def sigmas(self) -> str:
        """`0.5`, or for a cascade `0.25 → 0.5`."""
        return arrows([one.sigma for one in self.levels or [self]])

    @property
    def trained_sigma(self) -> float | None:
        """Noise level of the training; None for a cascade, and where a log's path doesn't state it."""
        if self.levels:
            return None
        return self.spec.trained_sigma if isinstance(self.spec, ImportSpec) else self.training.sigma

    @property
    def noise(self) -> str:
        return getattr(self.spec, "noise", "none")

    @property
    def arithmetic(self) -> str:
        return getattr(self.spec, "arithmetic", "float")

    @property
    def stopping(self) -> str:
        return getattr(self.spec, "stopping", "fixed")

    @property
    def estimated(self) -> bool:
        """True where the radii come from random draws, so that n and alpha mean something."""
        return not self.own or bool(getattr(self.spec, "estimated", False))

    @property
    def n(self) -> int | None:
        """Estimation draws; None where they aren't known, or differ between the levels of a cascade."""
        return self._draws("n")

    @property
    def n0(self) -> int | None:
        """Selection draws, as `n`."""
        return self._draws("n0")

    def _draws(self, key: str) -> int | None:
        differ = len({getattr(one, key) for one in self.levels}) > 1
        return None if differ else getattr(self.logged or self.spec, key, None)

    @property
    def cascade_text(self) -> str:
        """`cascade of σ = 0.25 → 0.5, τ = 0.9`, with a mark where it was tuned on the images of the measurement."""
        levels = levels_text([one.sigma for one in self.levels], self.level_names)
        return f"cascade of {levels}, τ = {arrows(self.taus)}{self.tuning.mark if self.tuning else ''}"

    @property
    def counted(self) -> bool:
        """True for a log that holds counts, from which its radii are derived."""
        return isinstance(self.spec, ImportSpec) and bool(self.spec.counts)

    @property
    def name(self) -> str:
        """The method with its distinguishing settings; of a log with the training's noise where it differs."""
        if self.own:
            told = [self.cascade_text] if self.levels else []
            known = ((key, value) for key, value in self.varying.items() if value is not None)
            told += [f"{key.split('.', 1)[-1]}={plain(value)}" for key, value in known]
            return f"{self.method} ({', '.join(told)})" if told else self.method
        trained = self.trained_sigma
        told = [] if trained in (None, self.sigma) else [f"trained at σ = {trained:g}"]
        told += [self.path_part] if self.path_part else []
        about = ", ".join([*told, "logged counts" if self.counted else "log"])
        # In one pair of brackets, even where an exported method already has one.
        return f"{self.method[:-1]}, {about})" if self.method.endswith(")") else f"{self.method} ({about})"

    @property
    def label(self) -> str:
        """The name, with a mark where the network learned nothing."""
        return marked(self.name, self.degenerate.mark if self.degenerate else "")

    @property
    def images(self) -> int:
        """Number of images behind the numbers."""
        return len(self.index)

    @property
    def complete(self) -> bool:
        return self.images == self.planned

    @property
    def progress(self) -> str:
        """Progress of an incomplete run; empty for a complete one."""
        done = self.images >= self.planned
        return "" if done else f"{self.images} of {counted(self.planned, 'image')} finished"

    @cached_property
    def score(self) -> NDArray[np.float64]:
        """The radius where the prediction is right, -1 elsewhere: certified at r where it is ≥ r."""
        return np.where(self.certified.predicted == self.labels, self.certified.radius, -1.0)

    @property
    def counts(self) -> NDArray[Any] | None:
        """(N, C) estimation counts, or (N, 1) of a log's predicted class; None where there are none."""
        if self.table is not None:
            return self.table.rows.counts
        return self.logged.log.radii.counts if self.logged else None

    @property
    def wrong_claims(self) -> int | None:
        """Upper bound, with probability 1 − `RHO`, on the number of wrongly certified images at any radius; None where unproved."""
        failure = self.failure
        return None if failure is None or not self.images else wrong_claims(self.images, failure, RHO)

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

    def restrict(self, positions: NDArray[np.int64]) -> Measurement:
        """The same run on these images alone; its numbers at the table's radii are those of all images."""
        keep, found = np.isin(self.index, positions), self.certified
        certified = Certified(found.predicted[keep], found.radius[keep], found.at_cap[keep])
        return replace(
            self, index=self.index[keep], labels=self.labels[keep], certified=certified, table=None,
            seconds=self.seconds[keep], distance=None, agreement=None,
        )  # fmt: skip


def common_images(measurements: Sequence[Measurement]) -> NDArray[np.int64]:
    """Positions that all of these have finished."""
    return reduce(partial(np.intersect1d, assume_unique=True), (one.index for one in measurements))
