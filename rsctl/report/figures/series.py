"""Data of a figure: per line of a table the scores of its images, one array per training seed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

from rsctl.certificates import Certified
from rsctl.report.attacked import AttackedRow
from rsctl.report.figures.hours import task_hours
from rsctl.report.logged import p_a_estimate, p_a_lower, reading
from rsctl.report.measured import CONFIDENCE, AnyRow, LoggedRow, OwnRow, ProvedRow, Results
from rsctl.report.notes import data_of
from rsctl.report.proved import as_certified as proved_radii
from rsctl.report.rows import Sample, sweep_results
from rsctl.report.tables.summary import Group, Line, groups
from rsctl.store.imports import ShownImport, find_sweep
from rsctl.store.layout import Store
from rsctl.store.tables import read_findings

Floats = NDArray[np.float64]


@dataclass
class Images:
    """One row's images."""

    score: Floats
    """(N,): the radius where the prediction is right, -1 elsewhere."""
    label: NDArray[Any]
    p: Floats
    """(N,): share of draws that give the label; NaN where a log lacks it."""
    index: NDArray[np.int64]
    """(N,): positions in the data split."""


@dataclass
class Series:
    """One line of a figure."""

    line: Line
    images: list[Images]
    """One per training seed."""

    @property
    def sigma(self) -> float:
        return self.line.first.sigma

    @property
    def largest(self) -> float:
        return max((float(one.score.max()) for one in self.images if len(one.score)), default=0.0)

    def accuracy(self, radii: Floats) -> tuple[Floats, Floats, Floats]:
        """Mean certified accuracy at each radius with a band, each (R,).

        The band of one run is its 95 % Clopper–Pearson interval over images; of several seeds mean ± one
        standard deviation.
        """
        shares = np.array([at_least(one.score, radii) for one in self.images])
        if len(shares) > 1:
            mean, deviation = shares.mean(axis=0), shares.std(axis=0, ddof=1)
            return mean, np.maximum(mean - deviation, 0), np.minimum(mean + deviation, 1)
        return shares[0], *_interval(shares[0], len(self.images[0].score))


@dataclass
class Panel:
    """Series that share a plot."""

    group: Group
    series: list[Series] = field(default_factory=list)
    attacked: list[AttackedRow] = field(default_factory=list)
    """Attacks on the models of this panel, in its norm."""


def at_least(score: Floats, radii: Floats) -> Floats:
    """Share of images with score ≥ r for each r; (R,)."""
    ordered = np.sort(score)
    return np.asarray(1 - np.searchsorted(ordered, radii, side="left") / max(len(ordered), 1), np.float64)


def _interval(share: Floats, count: int) -> tuple[Floats, Floats]:
    k, half = np.rint(share * count), (1 - CONFIDENCE) / 2
    low = np.where(k > 0, betaincinv(np.maximum(k, 1), count - k + 1, half), 0.0)
    high = np.where(k < count, betaincinv(k + 1, np.maximum(count - k, 1), 1 - half), 1.0)
    return low, high


def collect(store: Store, sweep: str, **options: Any) -> tuple[list[Panel], Results]:
    """The panels of a sweep; `options` as for `sweep_results`. Rows without a finished image are left out."""
    found: dict[tuple[str, str, float | None], Images] = {}

    def key(row: AnyRow) -> tuple[str, str, float | None]:
        return row.run, row.certificate, row.alpha

    def each(sample: Sample) -> None:
        rows, n = sample.table.rows, np.maximum(sample.table.rows.n, 1)
        p = rows.counts[np.arange(len(rows)), rows.label] / n if len(rows) else np.empty(0)
        found[key(sample.row)] = Images(_score(sample.certified, rows.label), rows.label, p, rows.index)

    results = sweep_results(store, sweep, each=each, **options)
    for proved in results.proved:
        if not proved.images:
            continue
        findings = read_findings(store.run("verifications", proved.run)).rows
        found[key(proved)] = Images(
            _score(proved_radii(findings), findings.label),
            findings.label,
            np.full(len(findings), np.nan),
            findings.index,
        )
    beside = {shown.log.id: shown for shown in find_sweep(store, sweep)[1]}
    for row in results.logged:
        found[key(row)] = _of_log(beside[row.run], row)
    panels = []
    for whole in groups(results.every):
        group = Group([line for line in whole.lines if line.first.images])
        if not group.lines:
            continue
        panels.append(
            Panel(
                group,
                [Series(line, [found[key(row)] for row in line.rows]) for line in group.lines],
                _attacks_on(group, results.attacked),
            )
        )
    return panels, results


def _attacks_on(group: Group, attacked: list[AttackedRow]) -> list[AttackedRow]:
    """Attacks on the classifiers of a group's certificates: the smoothed one at its σ, or the network itself.

    What is smoothed in exact arithmetic is another classifier than the one that is attacked.
    """
    about = {
        (row.train.hash, 0.0 if isinstance(row, ProvedRow) else row.sigma)
        for line in group.lines
        for row in line.rows
        if isinstance(row, OwnRow) and row.arithmetic != "exact"
    }
    return [
        one
        for one in attacked
        if one.spec.norm == group.first.norm and (one.train.hash, one.spec.sigma) in about and one.images
    ]


def by_norm(panels: list[Panel]) -> list[Panel]:
    """The same lines in one panel per norm, over the images common to a panel; without logs."""
    together: dict[tuple[str, str], list[Series]] = {}
    for panel in panels:
        for one in panel.series:
            if isinstance(one.line.first, OwnRow):
                together.setdefault((one.line.first.norm, data_of(one.line.first)), []).append(one)
    found = []
    for several in together.values():
        common = several[0].images[0].index
        for images in (images for one in several for images in one.images):
            common = np.intersect1d(common, images.index)
        kept = [Series(one.line, [_only(images, common) for images in one.images]) for one in several]
        found.append(Panel(Group([one.line for one in several]), kept))
    return found


def _only(images: Images, positions: NDArray[np.int64]) -> Images:
    keep = np.isin(images.index, positions)
    return Images(images.score[keep], images.label[keep], images.p[keep], images.index[keep])


def _of_log(shown: ShownImport, row: LoggedRow) -> Images:
    log, sigma = shown.log.radii, shown.log.spec.sigma
    certified = reading(shown, row.certificate, row.alpha).certified
    if log.counts is not None and log.draws is not None:
        whole = log.counts.shape[1] > 1
        hits = log.counts[np.arange(len(log)), log.label if whole else 0]
        p = np.where(whole | (log.predicted == log.label), hits / log.draws, np.nan)
        return Images(_score(certified, log.label), log.label, p, log.index)
    if row.norm != "l2":
        p = np.full(len(log), np.nan)
    elif shown.n is None or shown.alpha is None:
        p = p_a_lower(log.radius, sigma)
    else:
        p = p_a_estimate(log.radius, sigma, shown.n, shown.alpha)
    return Images(
        _score(certified, log.label), log.label, np.where(log.predicted == log.label, p, np.nan), log.index
    )


def _score(certified: Certified, label: NDArray[Any]) -> Floats:
    return np.where(certified.predicted == label, certified.radius, -1.0)


def hours_of(store: Store, row: AnyRow) -> float:
    """Training and certification hours of a run; NaN for a log, or where nothing is recorded."""
    if isinstance(row, LoggedRow):
        return float("nan")
    return task_hours(store.run("models", row.spec.model_run)) + task_hours(
        store.run(row.spec.folder, row.run)
    )
