"""One row per run and certificate: certified accuracy by radius, with everything that qualifies it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

from rsctl.certificates import Certified, find_certificate
from rsctl.errors import InputError, RefusedError
from rsctl.spec.permutation import images_of
from rsctl.spec.runs import CountSpec, TrainSpec
from rsctl.store.layout import Store
from rsctl.store.tables import Reader, Table

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Cell:
    """Certified accuracy at one radius, with its two-sided Clopper–Pearson interval at 95 %."""

    radius: float
    certified: int
    images: int

    @property
    def accuracy(self) -> float:
        return self.certified / self.images if self.images else float("nan")

    @property
    def interval(self) -> tuple[float, float]:
        """Over images drawn from the same population; (0, 1) where there are none."""
        k, n, half = self.certified, self.images, (1 - CONFIDENCE) / 2
        low = float(betaincinv(k, n - k + 1, half)) if k else 0.0
        high = float(betaincinv(k + 1, n - k, 1 - half)) if k < n else 1.0
        return low, high


@dataclass(frozen=True)
class Row:
    """A run under one certificate at one alpha."""

    run: str
    train: TrainSpec
    count: CountSpec
    certificate: str
    guarantee: str
    norm: str
    k: int
    alpha: float
    images: int
    """How many the numbers speak of: the finished beginning of the seeded order."""
    planned: int
    cells: list[Cell]
    acr: float
    """Mean of correct · radius (average certified radius)."""
    abstain_rate: float
    cap_share: float
    """Share of images whose radius is the largest that n and alpha allow."""
    varying: dict[str, Any] = field(default_factory=dict)
    """Settings, besides method, σ and seed, in which runs of this sweep differ."""

    @property
    def complete(self) -> bool:
        return self.images == self.planned


@dataclass(frozen=True)
class Results:
    """A sweep's rows, with what its readers must know."""

    sweep: str
    description: str
    rows: list[Row]
    notes: list[str]


def curve(certified: Certified, labels: NDArray[Any], radii: Sequence[float]) -> list[Cell]:
    """Certified accuracy at each radius: correct and radius ≥ r; abstentions never count."""
    correct = certified.predicted == labels
    return [Cell(float(r), int((correct & (certified.radius >= r)).sum()), len(labels)) for r in radii]


def sweep_results(
    store: Store,
    name: str,
    *,
    certificate: str | None = None,
    alpha: float | None = None,
    radii: Sequence[float] | None = None,
    readers: dict[str, Reader] | None = None,
) -> Results:
    """The rows of a sweep, recomputed from stored counts; works while shards are still being written.

    `readers` (by run id) keeps what was read, for callers that ask again.
    """
    if alpha is not None and not 0 < alpha < 1:
        raise InputError(f"alpha: must be inside (0, 1), but it is {alpha}.")
    sweep = store.sweep(name)
    readers = {} if readers is None else readers
    rows: list[Row] = []
    notes: list[str] = []
    for entry in sweep["entries"]:
        run = store.run("counts", entry["counts"])
        train = store.run("models", entry["model"]).train_spec
        table = readers.setdefault(run.id, Reader(run)).read()
        notes += table.problems
        spec = run.count_spec
        chosen = entry["images"]
        order = images_of(chosen["of"], spec.holdout, spec.seed, chosen["skip"], chosen["max"])
        begun = finished_prefix(table, order)
        for wanted in [certificate] if certificate else entry["certificates"]:
            rows.append(
                _row(begun, train, wanted, alpha or entry["alpha"], radii or entry["radii"], len(order))
            )
    _mark_varying(rows)
    return Results(name, sweep["description"], rows, notes + _warnings(rows))


def finished_prefix(table: Table, order: Sequence[int]) -> Table:
    """The rows of the longest finished beginning of the order: an unbiased sample, unlike "whatever is in"."""
    finished = np.isin(np.asarray(order, np.int64), table.rows.index)
    length = len(order) if finished.all() else int(finished.argmin())
    return table.restrict(order[:length])


def _row(
    table: Table, train: TrainSpec, name: str, alpha: float, radii: Sequence[float], planned: int
) -> Row:
    rule = find_certificate(name)
    spec, images = table.run.count_spec, len(table.rows)
    if images and (table.rows.n != spec.n).any():
        raise RefusedError(
            f"{table.run.path}: some images have other draws than n = {spec.n}; their shards don't belong here."
        )
    if images:
        certified = rule.certify(table.counts(), alpha)
    else:
        certified = Certified(np.empty(0, np.int64), np.empty(0), np.empty(0, bool))
    labels = table.rows.label
    correct = certified.predicted == labels
    return Row(
        run=table.run.id,
        train=train,
        count=spec,
        certificate=name,
        guarantee=rule.guarantee.label(alpha),
        norm=rule.norm,
        k=rule.k,
        alpha=alpha,
        images=images,
        planned=planned,
        cells=curve(certified, labels, radii),
        acr=float((correct * certified.radius).mean()) if images else float("nan"),
        abstain_rate=float((certified.predicted == -1).mean()) if images else float("nan"),
        cap_share=float(certified.at_cap.mean()) if images else float("nan"),
    )


def settings_of(train: TrainSpec, count: CountSpec) -> dict[str, Any]:
    """Everything that may differ between two runs, by the key a sweep file gives it."""
    return {
        "dataset": train.dataset,
        "model": train.model,
        "precision": train.precision,
        **{f"dataset.{key}": value for key, value in train.dataset_parameters.items()},
        **{f"model.{key}": value for key, value in train.model_parameters.items()},
        **{f"method.{key}": value for key, value in train.hyperparameters.items()},
        **{f"training.{key}": value for key, value in train.recipe.model_dump().items()},
        "certification.sigma": count.sigma if count.sigma != train.sigma else None,
        "certification.n": count.n,
        "certification.n0": count.n0,
        "certification.seed": count.seed,
        "certification.split": count.split,
        "certification.precision": count.precision,
    }


def _mark_varying(rows: list[Row]) -> None:
    """Only what differs between rows of one method and σ tells them apart."""
    groups: dict[tuple[str, float], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.train.method, row.train.sigma), []).append(row)
    for group in groups.values():
        values = [settings_of(row.train, row.count) for row in group]
        for key in values[0]:
            column = [v.get(key) for v in values]
            if any(value != column[0] for value in column):
                for row, value in zip(group, column, strict=True):
                    row.varying[key] = value


def _warnings(rows: list[Row]) -> list[str]:
    """What a reader of this table must be told."""
    notes = []
    if any(row.count.split == "val" for row in rows):
        notes.append("Images held out of the training split, meant for tuning: not a test result.")
    tuned = sorted(
        {
            key
            for row in rows
            for key in row.varying
            if row.count.split == "test" and not key.startswith("certification.")
        }
    )
    if tuned:
        notes.append(
            f"Runs of one method and noise level differ in {', '.join(tuned)}, on test images: choosing the best of them here "
            'is tuning on the test set. Tune with split = "val".'
        )
    incomplete = [row for row in rows if not row.complete]
    if incomplete:
        notes.append(
            f"{len(incomplete)} of {len(rows)} rows are not complete: their numbers speak of the images that are in, "
            "a random sample of those planned."
        )
    return notes
