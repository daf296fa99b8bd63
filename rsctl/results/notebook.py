"""The public classes of `rsctl.results`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rsctl.certificates import Certified
from rsctl.certificates.cascade import Cascade, as_thresholds
from rsctl.errors import InputError, UnavailableError
from rsctl.results.counts import measure_counts
from rsctl.results.image_order import ImageOrder
from rsctl.results.logs import measure_log
from rsctl.results.long_rows import long_rows
from rsctl.results.measurement import Measurement
from rsctl.results.opening import measure_import, measure_run
from rsctl.results.sweep import Results, sweep_results
from rsctl.store.degenerate import warning_of
from rsctl.store.imports import Import, find_sweep
from rsctl.store.layout import Run, Store
from rsctl.store.rows import Rows
from rsctl.store.tables import StoredTable
from rsctl.text import counted

__all__ = ["RunResults", "SweepResults", "open"]


def open(  # noqa: A001
    path: str | Path, *, certificate: str | None = None, alpha: float | None = None
) -> RunResults | SweepResults:
    """Open a sweep (`runs/sweeps/<name>`), a certification run (`runs/counts/<id>`), a verification
    (`runs/verifications/<id>`) or an imported log (`runs/imports/<id>`).

    Certificate and alpha default to those of the last submission. Raises InputError where the path is none of these.
    """
    folder = Path(path).resolve()
    kind = folder.parent.name
    if folder.is_dir() and kind == "sweeps":
        return SweepResults(Store(folder.parent.parent), folder.name, certificate, alpha)
    if (folder / "spec.json").is_file() and kind in ("counts", "verifications"):
        return RunResults(measure_run(Run(folder), certificate, alpha))
    if (folder / "spec.json").is_file() and kind == "imports":
        return RunResults(measure_import(Import(folder), certificate, alpha))
    raise InputError(
        f"{path}: is not a result. Open <store>/sweeps/<name>, <store>/counts/<id>, <store>/verifications/<id> or <store>/imports/<id>; 'rsctl status' lists the sweeps, 'rsctl status SWEEP' its runs."
    )


@dataclass(frozen=True, eq=False)
class RunResults:
    """Results so far of one run; arrays have shape (N,) unless stated otherwise and are ascending in `index`."""

    about: Measurement
    """Method, σ, n, alpha, certificate, guarantee and the rest."""

    def __repr__(self) -> str:
        """Return one line for a notebook cell; the arrays would fill pages."""
        return f"<RunResults {self.about.run}: {counted(len(self.index), 'image')}, {self.about.certificate}{', LEARNED NOTHING' if self.about.degenerate else ''}{', FILES DAMAGED' if self.problems else ''}>"

    @property
    def index(self) -> NDArray[np.int64]:
        """Positions in the data split."""
        return self.about.index

    @property
    def label(self) -> NDArray[np.int32]:
        return self.about.labels

    @property
    def predicted(self) -> NDArray[np.int64]:
        """The predicted class, -1 for an abstention."""
        return self.about.certified.predicted

    @property
    def radius(self) -> NDArray[np.float64]:
        """The certified radius, 0 for an abstention."""
        return self.about.certified.radius

    @property
    def learned_nothing(self) -> str:
        """Reason why the numbers are meaningless: one class for every image, or accuracy at chance; empty otherwise."""
        return warning_of(self.about.degenerate)

    @property
    def problems(self) -> Sequence[str]:
        """Files that couldn't be used, each with its reason; their images are missing from the arrays."""
        return self.about.problems

    @property
    def correct(self) -> NDArray[np.bool_]:
        return np.asarray(self.predicted == self.label)

    @property
    def seconds(self) -> NDArray[np.float64]:
        """Wall time of each image; NaN if a log has none."""
        return self.about.seconds

    @property
    def counts(self) -> NDArray[np.int32]:
        """(N, C): the n estimation draws; raises InputError for logs and verifiers that hold radii only.

        (N, 1) for a log that counted only the predicted class.
        """
        counts = self.about.counts
        return self._table.rows.counts if counts is None else counts.astype(np.int32, copy=False)

    @property
    def selection_counts(self) -> NDArray[np.int32]:
        """(N, C): the n0 selection draws."""
        return self._table.rows.selection_counts

    @property
    def acr(self) -> float:
        """Mean of correct · radius; NaN while there are no results."""
        return (
            math.fsum(np.maximum(self.about.score, 0)) / len(self.index) if len(self.index) else float("nan")
        )

    def certified_accuracy(self, radii: Sequence[float]) -> NDArray[np.float64]:
        """(R,): share of images classified correctly with a radius ≥ r; NaN while there are no results."""
        if not len(self.index):
            return np.full(len(radii), np.nan)
        return np.array([(self.about.score >= r).mean() for r in radii])

    def certify(self, certificate: str, alpha: float) -> Certified:
        """Apply another certificate or alpha to the same counts; raises RefusedError if that isn't sound."""
        if self.about.logged and self.about.counted:
            return measure_log(self.about.logged, certificate, alpha).certified
        return measure_counts(self._table, ImageOrder(self.index, ""), certificate, alpha).certified

    def frame(self) -> Any:
        """Return a pandas DataFrame with one row per image."""
        return _pandas().DataFrame(
            {"index": self.index, "label": self.label, "predicted": self.predicted, "radius": self.radius,
             "correct": self.correct, "seconds": self.seconds}
        )  # fmt: skip

    @property
    def _table(self) -> StoredTable[Rows]:
        if self.about.table is None:
            levels = ", ".join(one.run for one in self.about.levels)
            raise InputError(
                f"{self.about.run}: {f'a cascade has the counts of its levels: {levels}' if levels else 'holds radii only, no counts'}."
            )
        return self.about.table


@dataclass(frozen=True, eq=False)
class SweepResults:
    """A snapshot of a sweep; open it again for newer results."""

    store: Store
    name: str
    certificate: str | None = None
    alpha: float | None = None

    def __repr__(self) -> str:
        return f"<SweepResults {self.name} in {self.store.root}>"

    def results(self, radii: Sequence[float] | None = None) -> Results:
        """Return the rows with their notes; `radii` default to the sweep's own."""
        return sweep_results(
            self.store, self.name, certificate=self.certificate, alpha=self.alpha, radii=radii
        )

    def rows(self, radii: Sequence[float] | None = None) -> list[dict[str, Any]]:
        """Return one dict per run and radius, with the columns of `rsctl export --format csv`."""
        return long_rows(self.results(radii))

    def cascade(self, sigmas: Sequence[float], tau: float | Sequence[float]) -> list[RunResults]:
        """Return the cascades of these noise levels, one per method, settings and training seed.

        `tau` is one threshold, or one for each level but the last. Choose levels, order and thresholds on held-out images.
        """
        rule = Cascade(tuple(float(one) for one in sigmas), as_thresholds(tau, len(sigmas)))
        results = sweep_results(
            self.store, self.name, certificate=self.certificate, alpha=self.alpha, cascade=rule
        )
        return [RunResults(one) for one in results.cascades]

    @cached_property
    def cascades(self) -> list[RunResults]:
        """The cascades of its sweep file."""
        return [RunResults(one) for one in self.results().cascades]

    def frame(self, radii: Sequence[float] | None = None) -> Any:
        """The same as a pandas DataFrame."""
        return _pandas().DataFrame(self.rows(radii))

    @cached_property
    def runs(self) -> list[RunResults]:
        """Its certification runs, verifications and imported logs, fully loaded."""
        plan, beside = find_sweep(self.store, self.name)
        by_kind: dict[str, dict[str, Any]] = {"counts": {}, "verifications": {}}
        for entry in plan["entries"]:
            by_kind.setdefault(entry.kind, {})[entry.run] = entry.images
        if self.certificate or self.alpha:
            by_kind["verifications"], beside = {}, []
        own = [
            measure_run(self.store.run(kind, one), *choice, chosen)
            for kind, choice in (("counts", (self.certificate, self.alpha)), ("verifications", (None, None)))
            for one, chosen in by_kind[kind].items()
        ]
        return [RunResults(one) for one in [*own, *(measure_import(shown.log) for shown in beside)]]


def _pandas() -> Any:
    try:
        import pandas
    except ImportError as error:
        raise UnavailableError(
            "a DataFrame needs pandas: pip install pandas. Without it use the arrays, or rows()."
        ) from error
    return pandas
