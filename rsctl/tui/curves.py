"""Certified accuracy against radius from the counts on disk; only shards that changed are read again.

Imported on a background thread only.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

from rsctl.certificates import find_certificate
from rsctl.report.rows import CONFIDENCE, curve, finished_prefix
from rsctl.spec.permutation import images_of
from rsctl.store.layout import Run
from rsctl.store.tables import Reader, data_files
from rsctl.tui.views import Curve, RunView

POINTS = 241
_READERS = 6


class Curves:
    """Keeps what was read of the runs asked for last."""

    def __init__(self) -> None:
        self._readers: OrderedDict[Path, Reader] = OrderedDict()
        self._known: dict[tuple[str, str, float], tuple[object, Curve]] = {}

    def of(
        self, store: str, run: RunView, certificate: str | None = None, alpha: float | None = None
    ) -> Curve:
        """The curve of a run under one certificate at one alpha; by default the first its sweep asks for."""
        name = certificate or str(run.entry["certificates"][0])
        level = alpha or float(run.entry["alpha"])
        folder = Run(Path(store) / "counts" / run.counts)
        stamp = _stamp(folder)
        key = (run.key, name, level)
        if key in self._known and self._known[key][0] == stamp:
            return self._known[key][1]
        found = self._read(folder, run, name, level)
        self._known[key] = (stamp, found)
        return found

    def _read(self, folder: Run, run: RunView, name: str, alpha: float) -> Curve:
        reader = self._readers.setdefault(folder.path, Reader(folder))
        self._readers.move_to_end(folder.path)
        if len(self._readers) > _READERS:
            self._readers.popitem(last=False)
        spec, chosen, rule = reader.run.count_spec, run.entry["images"], find_certificate(name)
        order = images_of(chosen["of"], spec.holdout, spec.seed, chosen["skip"], chosen["max"])
        table = reader.read()
        begun = finished_prefix(table, order)
        images = len(begun.rows)
        about = Curve(
            run.counts, run.title, name, rule.guarantee.label(alpha), rule.norm, alpha, spec.n, images, len(order),
            problems=tuple(table.problems),
        )  # fmt: skip
        if not images:
            return about
        certified = rule.certify(begun.counts(), alpha)
        correct = certified.predicted == begun.rows.label
        columns = [
            (cell.radius, cell.accuracy, *cell.interval)
            for cell in curve(certified, begun.rows.label, run.entry["radii"])
        ]
        reach = max(float(certified.radius.max()), *map(float, run.entry["radii"])) or 1.0
        radii = np.linspace(0.0, reach, POINTS)
        ordered = np.sort(certified.radius[correct])
        counted = len(ordered) - np.searchsorted(ordered, radii, side="left")
        low, high = _interval(counted, images)
        return Curve(
            about.run, about.title, name, about.guarantee, about.norm, alpha, spec.n, images, len(order),
            tuple(radii.tolist()),
            tuple((counted / images).tolist()),
            tuple(low.tolist()),
            tuple(high.tolist()),
            float((correct * certified.radius).mean()),
            float((certified.predicted == -1).mean()),
            float(certified.at_cap.mean()),
            about.problems,
            tuple(columns),
        )  # fmt: skip


def _interval(successes: NDArray[np.int64], n: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Pointwise two-sided Clopper–Pearson at `CONFIDENCE`, as `rsctl.report.rows.Cell.interval`."""
    half = (1 - CONFIDENCE) / 2
    k = successes.astype(np.float64)
    low = np.where(k > 0, betaincinv(np.maximum(k, 1), n - k + 1, half), 0.0)
    high = np.where(k < n, betaincinv(k + 1, np.maximum(n - k, 1), 1 - half), 1.0)
    return low, high


def _stamp(run: Run) -> tuple[object, ...]:
    """Changes when a file of the run does."""
    found = []
    for path in data_files(run):
        try:
            status = os.stat(path)
        except FileNotFoundError:
            continue
        found.append((path.name, status.st_mtime_ns, status.st_size, status.st_ino))
    return tuple(found)
