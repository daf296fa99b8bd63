"""Data of a figure: per line of a table the images of its measurements, one for each training seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rsctl.config.runs import AttackSpec
from rsctl.results.cascade import whole_levels
from rsctl.results.interval import clopper_pearson
from rsctl.results.lines import Group, Line, groups
from rsctl.results.measurement import Measurement, common_images
from rsctl.results.notes import data_of
from rsctl.results.sweep import Results, sweep_results
from rsctl.store.attempts import attempt_numbers, read_attempt
from rsctl.store.layout import Run, Store

Floats = NDArray[np.float64]


@dataclass
class PlottedLine:
    """One line of a figure."""

    line: Line
    images: Sequence[Measurement]
    """One measurement per training seed, perhaps restricted to images that all lines have."""

    @property
    def sigma(self) -> float:
        return self.line.first.sigma

    @property
    def largest(self) -> float:
        return max((float(one.score.max()) for one in self.images if one.images), default=0.0)

    def accuracy(self, radii: Floats) -> tuple[Floats, Floats, Floats]:
        """Mean certified accuracy at each radius with a band, each (R,).

        The band of one run is its 95 % Clopper–Pearson interval over images; of several seeds mean ± one
        standard deviation.
        """
        shares = np.array([at_least(one.score, radii) for one in self.images])
        if len(shares) > 1:
            mean, deviation = shares.mean(axis=0), shares.std(axis=0, ddof=1)
            return mean, np.maximum(mean - deviation, 0), np.minimum(mean + deviation, 1)
        images = self.images[0].images
        return shares[0], *clopper_pearson(np.rint(shares[0] * images), images)


@dataclass
class Panel:
    """Lines that share a plot."""

    group: Group
    series: list[PlottedLine] = field(default_factory=list)
    attacked: list[Measurement] = field(default_factory=list)
    """Attacks on the models of this panel, in its norm."""


def at_least(score: Floats, radii: Floats) -> Floats:
    """Share of images with score ≥ r for each r; (R,)."""
    ordered = np.sort(score)
    return np.asarray(1 - np.searchsorted(ordered, radii, side="left") / max(len(ordered), 1), np.float64)


def collect(store: Store, sweep: str, **options: Any) -> tuple[list[Panel], Results]:
    """The panels of a sweep; `options` as for `sweep_results`. Rows without a finished image are left out."""
    results = sweep_results(store, sweep, **options)
    return panels_of(results), results


def panels_of(results: Results) -> list[Panel]:
    """The panels of measurements; rows without a finished image are left out."""
    panels = []
    for whole in groups(results.every):
        group = Group([line for line in whole.lines if line.first.images])
        if group.lines:
            lines = [PlottedLine(line, line.rows) for line in group.lines]
            panels.append(Panel(group, lines, _attacks_on(group, results.attacked)))
    return panels


def _attacks_on(group: Group, attacked: Sequence[Measurement]) -> list[Measurement]:
    """Attacks on the classifiers of a group's certificates: the smoothed one at its σ, the network itself, or a cascade.

    What is smoothed in exact arithmetic is another classifier than the one that is attacked.
    """
    about = {
        _classifier(row) for line in group.lines for row in line.rows if row.own and row.arithmetic != "exact"
    }
    return [
        one for one in attacked if one.images and one.norm == group.first.norm and _classifier(one) in about
    ]


def _classifier(row: Measurement) -> tuple[Any, ...]:
    """Key of the classifier that a measurement is about: trainings and noise levels, and the thresholds between them."""
    if row.levels:
        return (*((one.training.hash, one.sigma) for one in row.levels), *row.taus)
    before = row.spec.before if isinstance(row.spec, AttackSpec) else []
    sigma = getattr(row.spec, "sigma", 0.0) if row.kind in ("counts", "attacks") else 0.0
    return (
        *((one.hash, one.sigma) for one in before),
        (row.training.hash, sigma),
        *(one.tau for one in before),
    )


def by_norm(panels: list[Panel]) -> list[Panel]:
    """The same lines in one panel per norm, over the images common to a panel; without logs."""
    together: dict[tuple[str, str], list[PlottedLine]] = {}
    for one in (one for panel in panels for one in panel.series):
        if one.line.first.own:
            together.setdefault((one.line.first.norm, data_of(one.line.first)), []).append(one)
    found = []
    for several in together.values():
        common = common_images([images for one in several for images in one.images])
        kept = [PlottedLine(one.line, [images.restrict(common) for images in one.images]) for one in several]
        found.append(Panel(Group([one.line for one in several]), kept))
    return found


def by_cascade(panels: Sequence[Panel]) -> list[Panel]:
    """A panel per cascade, with the lines of its levels after its own, over the images that all have finished."""
    found = []
    for line in (one.line for panel in panels for one in panel.series if one.line.first.levels):
        several = [whole_levels(row) for row in line.rows]
        levels = [Line(list(ones)) for ones in zip(*several, strict=True)]
        shown = [
            PlottedLine(one, [row.restrict(of.index) for row, of in zip(one.every, line.rows, strict=True)])
            for one in levels
        ]
        found.append(Panel(Group([line, *levels]), [PlottedLine(line, line.rows), *shown]))
    return found


def hours_of(store: Store, row: Measurement) -> float:
    """Training and certification hours of a run, or of all levels of a cascade; NaN for a log, or where nothing is recorded."""
    if row.levels:
        return sum(hours_of(store, one) for one in row.levels)
    if not row.own:
        return float("nan")
    return task_hours(store.run("models", row.table_spec.model_run)) + task_hours(
        store.run(row.kind, row.run)
    )


def task_hours(run: Run) -> float:
    """Hours of one GPU (or of one process, where there is none) over all attempts at all tasks, lost ones included; NaN
    if none was ever claimed.

    A training in several processes counts once for each, as each holds a GPU; threads don't count. An attempt that died
    without a record of its end counts up to its last record.
    """
    processes = int(run.launch().get("processes", 1)) if run.kind == "models" else 1
    seconds, claimed = 0.0, False
    for task, attempts in attempt_numbers(run).items():
        for number in attempts:
            attempt = read_attempt(run, task, number)
            if "time" in attempt.claim:
                claimed = True
                last = attempt.end or attempt.progress or attempt.claim
                seconds += max(0.0, last.get("time", 0.0) - attempt.claim["time"])
    return processes * seconds / 3600 if claimed else float("nan")
