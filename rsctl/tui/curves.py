"""Certified accuracy against radius from the results on disk; only files that changed are read again.

Imported on a background thread only.
"""

from __future__ import annotations

import os
import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rsctl.certificates import CountTable, certificates
from rsctl.certificates.possible import too_few
from rsctl.errors import RefusedError, UserError
from rsctl.plain import plain
from rsctl.results.attacks import measure_attack
from rsctl.results.cascade import cascade_of, with_origin
from rsctl.results.counts import measure_level
from rsctl.results.image_order import requested_by
from rsctl.results.interval import clopper_pearson
from rsctl.results.logs import NoCountsError, measure_log
from rsctl.results.measurement import Measurement
from rsctl.results.notes import about_shared_noise, asked_of
from rsctl.results.partial import about_late_images, finished_prefix
from rsctl.results.tuned import mark_tuned
from rsctl.results.verifications import measure_proofs
from rsctl.store.degenerate import warning_of
from rsctl.store.imports import Import, ShownImport
from rsctl.store.layout import Run
from rsctl.store.rows import Rows
from rsctl.store.tables import Reader, data_files, read_findings
from rsctl.tui.views import Curve, ImageView, RunView

POINTS = 241
KEPT_BYTES = 32_000_000
"""Bytes of counts kept in memory; the least recently used runs are read again when needed."""

_SAMPLING = (
    "noise", "exponent", "selection", "stopping", "shell_edges", "gradient", "transfer", "extras", "precision", "arithmetic",
)  # fmt: skip


class Curves:
    """Reads curves and caches the counts of the runs used last."""

    def __init__(self) -> None:
        self._readers: OrderedDict[Path, tuple[Reader[Rows], int]] = OrderedDict()
        self._known: dict[tuple[str, str, float], tuple[object, Curve]] = {}
        self._refused: dict[tuple[str, ...], dict[str, str]] = {}

    def of(
        self, store: str, run: RunView, certificate: str | None = None, alpha: float | None = None
    ) -> Curve:
        """The curve of a run under one certificate at one alpha; by default the first of its sweep."""
        folder, entry = Run(Path(store) / run.entry["kind"] / run.counts), run.entry
        name, level = certificate or "", alpha or 0.0
        stamps = [folder]
        if run.derived:
            name, level = "cascade", alpha or float(entry["alpha"])
            stamps = [folder.store.run(one.kind, one.run) for one in entry["levels"]]
        if entry["kind"] == "counts":
            own = str(next(iter(entry["certificates"]), "cascade"))
            name, level = certificate or own, alpha or float(entry["alpha"])
        elif entry["kind"] != "imports" and not run.derived:
            name, level = "", 0.0  # there is one way to read proofs and attacks
        key, stamp = (run.key, name, level), entry if run.imported else tuple(map(_stamp, stamps))
        if key not in self._known or self._known[key][0] != stamp:
            if len(self._known) > 4000:
                self._known.clear()
            self._known[key] = (stamp, self._curve(folder, run, name, level))
        return self._known[key][1]

    def _curve(self, folder: Run, run: RunView, name: str, level: float) -> Curve:
        entry = run.entry
        planned = 0 if run.imported else int(entry["images"]["count"])
        refused = Curve(run.key, run.title, name, "", "", level, 0, 0, planned)
        if run.imported:
            own, stated = str(entry["certificates"][0]), entry["alpha"] or 0.0
            refused = replace(refused, certificate=name or own, norm="l2", alpha=stated)
        try:
            measured = self._measure(folder, run, name, level)
        except NoCountsError:
            said = f"alpha = {stated:g}" if stated else "an unstated alpha"
            why = f"the imported log has radii of {own} at {said}, but no counts to compute others from"
            return replace(refused, certificate=own, problems=(why,))
        except UserError as error:
            return replace(refused, problems=(plain(str(error)),))
        notes = map(plain, entry["remarks"]) if run.imported else ()
        return draw(measured, run, (*measured.problems, *notes, *_caveats(measured)))

    def _measure(self, folder: Run, run: RunView, certificate: str, alpha: float) -> Measurement:
        """The finished beginning of the run's images."""
        entry = run.entry
        if run.imported:
            log = Import(folder.path)
            shown = ShownImport(log, entry["n"], entry["n0"], entry["alpha"], "", [])
            return measure_log(shown, certificate or None, alpha or None, entry["radii"])
        if run.derived:
            levels = [
                self._counts(
                    folder.store.run(one.kind, one.run),
                    one.images,
                    next(iter(one.certificates), ""),
                    alpha,
                    entry["radii"],
                )
                for one in entry["levels"]
            ]
            cascade = with_origin(cascade_of(levels, entry["taus"]), entry["tuned"])
            return mark_tuned(folder.store, [cascade])[0]
        if entry["kind"] == "counts":
            if folder.count_spec.needed:
                raise RefusedError(
                    "it is sampled only where earlier levels of its cascade don't settle an image: see the row of the cascade."
                )
            return self._counts(folder, entry["images"], certificate, alpha, entry["radii"], _kind(run))
        order = requested_by(entry["images"], folder.table_spec)
        found = finished_prefix(read_findings(folder), order.positions)
        measure = measure_attack if entry["kind"] == "attacks" else measure_proofs
        return measure(found, order, entry["radii"])

    def _counts(
        self, folder: Run, images: Mapping[str, Any], certificate: str, alpha: float, radii: Sequence[float], kind: tuple[str, ...] = ()
    ) -> Measurement:  # fmt: skip
        """The finished beginning of these images of a certification run."""
        order = requested_by(images, folder.table_spec)
        reader, _ = self._readers.pop(folder.path, (Reader(folder, Rows), 0))
        table = reader.read()
        size = table.rows.counts.nbytes + table.rows.selection_counts.nbytes + 32 * len(table.rows)
        self._readers[folder.path] = (reader, size)
        while len(self._readers) > 1 and sum(size for _, size in self._readers.values()) > KEPT_BYTES:
            self._readers.popitem(last=False)
        begun = finished_prefix(table, order.positions)
        if kind and len(begun.rows) and kind not in self._refused:
            self._refused[kind] = refusals(begun.restrict([]).counts())
        return measure_level(begun, order, certificate, alpha, radii)

    def samples(self, store: str, run: RunView, certificate: str, alpha: float) -> list[ImageView]:
        """The images of a run one by one, in ascending order of their position; 0 for counts that are unknown."""
        folder = Run(Path(store) / run.entry["kind"] / run.counts)
        try:
            found = self._measure(folder, run, certificate, alpha)
        except NoCountsError:
            found = self._measure(folder, run, "", 0.0)
        first = second = np.zeros(found.images, np.int64)
        if found.counts is not None and found.images:
            ordered = np.sort(found.counts, axis=1)[:, ::-1]
            first, second = ordered[:, 0], ordered[:, 1] if ordered.shape[1] > 1 else second
        draws = np.full(found.images, found.n or 0 if found.logged else 0)
        if found.table:
            draws = found.table.rows.n
        elif found.logged and found.logged.log.radii.draws is not None:
            draws = found.logged.log.radii.draws
        radius = found.certified.radius if found.kind != "attacks" else found.distance
        columns = (found.index, found.labels, found.certified.predicted, radius, first, second, draws, found.seconds)  # fmt: skip
        return [ImageView(*values) for values in zip(*(np.asarray(c).tolist() for c in columns), strict=True)]

    def refused(self, runs: Sequence[RunView]) -> dict[str, str]:
        """The certificates that refuse the counts of all these runs, with a short reason."""
        kinds = dict.fromkeys(_kind(run) for run in runs if run.entry["kind"] == "counts")
        first, *others = [self._refused[kind] for kind in kinds if kind in self._refused] or [{}]
        return {name: why for name, why in first.items() if all(name in other for other in others)}


def _caveats(found: Measurement) -> list[str]:
    """Notes on the noise, the unfinished images and the number of draws of a measurement."""
    notes = (
        [about_shared_noise([found.table_spec.seed])] if getattr(found.spec, "shares_noise", False) else []
    )
    if found.stopping != "fixed" or found.kind == "verifications":
        notes.append(about_late_images([(found.images, found.planned)]))
    return [*filter(None, notes), *map(plain, too_few(asked_of(found)))]


def _kind(run: RunView) -> tuple[str, ...]:
    """The sampling settings that decide which certificates are sound."""
    return tuple(repr(run.settings.get(f"certification.{key}")) for key in _SAMPLING)


def refusals(counts: CountTable) -> dict[str, str]:
    """The certificates whose preconditions these counts don't meet: what each needs."""
    found = {}
    for name, rule in certificates().items():
        try:
            rule.certify(counts, 0.001)
        except RefusedError as error:
            first, _, why = re.split(r"; | \(|\. ", str(error))[0].partition(" ")
            found[name] = plain(why if name.startswith(first) else f"{first} {why}", 80)
    return found


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


def draw(found: Measurement, run: RunView, problems: Sequence[str]) -> Curve:
    """The curve of a measurement; of an attack the share of images without a known adversarial image within each distance."""
    attacked = found.kind == "attacks"
    # Where every noise position was counted, n and alpha mean nothing.
    n, alpha = (found.n or 0, found.alpha or 0.0) if found.estimated else (0, 0.0)
    about = Curve(
        run.key, run.title, found.certificate, found.guarantee, found.norm, alpha, n, found.images, found.planned,
        problems=tuple(problems), warning=warning_of(found.degenerate) or run.warning, attacked=attacked,
    )  # fmt: skip
    if not found.images:
        return about
    radii = found.certified.radius if found.distance is None or not attacked else found.distance
    ordered = np.sort(radii if attacked else radii[found.score >= 0])
    grid = _grid(found, radii)
    # An image has fallen at the distance of its adversarial image, and is certified at its radius.
    left = len(ordered) - np.searchsorted(ordered, grid, side="right" if attacked else "left")
    low, high = clopper_pearson(left, found.images)
    return replace(
        about,
        radii=tuple(grid.tolist()),
        accuracy=tuple((left / found.images).tolist()),
        low=tuple(low.tolist()),
        high=tuple(high.tolist()),
        acr=found.acr,
        # A verifier abstains nowhere.
        abstain_rate=float("nan") if found.kind == "verifications" else found.abstain_rate,
        cap_share=found.cap_share,
        columns=tuple((cell.radius, cell.accuracy, *cell.interval) for cell in found.cells),
    )


def _grid(found: Measurement, radii: NDArray[np.float64]) -> NDArray[np.float64]:
    """The radii at which a curve is evaluated: from 0 to beyond the largest found."""
    largest, asked = float(radii[np.isfinite(radii)].max(initial=0.0)), max(c.radius for c in found.cells)
    # Default columns cover several data sets and would squeeze the curve.
    end = max(largest, asked) if found.norm == "l2" else 1.1 * largest or asked or 1.0
    return np.linspace(0.0, end, POINTS)
