"""Certified accuracy against radius from the counts on disk; only shards that changed are read again.

Imported on a background thread only.
"""

from __future__ import annotations

import os
import re
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from rsctl.certificates import CountTable, certificates, find_certificate
from rsctl.certificates.possible import too_few
from rsctl.config.permutation import chosen_by, images_of
from rsctl.errors import RefusedError, UserError
from rsctl.plain import plain
from rsctl.report.begun import about_late_images, finished_prefix
from rsctl.report.notes import about_shared_noise, asked_of
from rsctl.store.degenerate import judge, said
from rsctl.store.imports import Import
from rsctl.store.layout import Run
from rsctl.store.rows import Rows
from rsctl.store.tables import Reader, StoredTable, data_files, read_findings
from rsctl.store.tally import tally, verdict
from rsctl.tui.findings import findings_curve
from rsctl.tui.lines import certified_line
from rsctl.tui.logged import logged_curve, logged_samples
from rsctl.tui.views import Curve, ImageView, RunView

KEPT_BYTES = 32_000_000
"""Bytes of counts kept in memory; the least recently used runs are read again when needed."""

_SAMPLING = (
    "noise",
    "exponent",
    "selection",
    "stopping",
    "shell_edges",
    "gradient",
    "transfer",
    "precision",
    "arithmetic",
)


class Curves:
    """Reads curves and caches the counts of the runs used last."""

    def __init__(self) -> None:
        self._readers: OrderedDict[Path, tuple[Reader[Rows], int]] = OrderedDict()
        self._known: dict[tuple[str, str, float], tuple[object, Curve]] = {}
        self._found: dict[str, tuple[object, Curve]] = {}
        """Curves of verifiers and attacks, by run."""
        self._refused: dict[tuple[str, ...], dict[str, str]] = {}

    def of(
        self, store: str, run: RunView, certificate: str | None = None, alpha: float | None = None
    ) -> Curve:
        """The curve of a run under one certificate at one alpha; by default the first of its sweep."""
        folder = Run(Path(store) / run.entry["kind"] / run.counts)
        if run.entry["kind"] == "imports":
            return self._logged(folder, run, certificate, alpha)
        if run.entry["kind"] != "counts":
            return self._findings(folder, run)
        name = certificate or str(run.entry["certificates"][0])
        level = alpha or float(run.entry["alpha"])
        stamp = _stamp(folder)
        key = (run.key, name, level)
        if key in self._known and self._known[key][0] == stamp:
            return self._known[key][1]
        try:
            found = self._read(folder, run, name, level)
        except UserError as error:
            found = Curve(
                run.key, run.title, name, "", "", level, 0, 0, int(run.entry["images"]["count"]),
                problems=(plain(str(error)),),
            )  # fmt: skip
        if len(self._known) > 4000:
            self._known.clear()
        self._known[key] = (stamp, found)
        return found

    def samples(self, store: str, run: RunView, certificate: str, alpha: float) -> list[ImageView]:
        """The images of a run one by one, in ascending order of their position."""
        if run.entry["kind"] == "imports":
            return logged_samples(Path(store) / "imports" / run.counts, run, certificate, alpha)
        if run.entry["kind"] != "counts":
            found = read_findings(Run(Path(store) / run.entry["kind"] / run.counts)).rows
            distances = found.broken if run.entry["kind"] == "attacks" else found.radius
            told = (found.index, found.label, found.predicted, distances, found.seconds)
            return [
                ImageView(index, label, predicted, radius, 0, 0, 0, seconds)
                for index, label, predicted, radius, seconds in zip(
                    *(column.tolist() for column in told), strict=True
                )
            ]
        table, _ = self._table(Run(Path(store) / "counts" / run.counts), run)
        if not len(table.rows):
            return []
        certified = find_certificate(certificate).certify(table.counts(), alpha)
        ordered = np.sort(table.rows.counts, axis=1)[:, ::-1]
        second = ordered[:, 1] if ordered.shape[1] > 1 else np.zeros(len(ordered), np.int64)
        rows = table.rows
        columns = (rows.index, rows.label, certified.predicted, certified.radius, ordered[:, 0], second, rows.n, rows.seconds)  # fmt: skip
        return [ImageView(*values) for values in zip(*(column.tolist() for column in columns), strict=True)]

    def refused(self, runs: Sequence[RunView]) -> dict[str, str]:
        """The certificates that refuse the counts of all these runs, with a short reason."""
        kinds = dict.fromkeys(_kind(run) for run in runs if run.entry["kind"] == "counts")
        first, *others = [self._refused[kind] for kind in kinds if kind in self._refused] or [{}]
        return {name: why for name, why in first.items() if all(name in other for other in others)}

    def _table(self, folder: Run, run: RunView) -> tuple[StoredTable[Rows], int]:
        """The finished beginning of the run's images, and how many are planned."""
        reader, _ = self._readers.pop(folder.path, (Reader(folder, Rows), 0))
        spec, chosen = reader.run.count_spec, run.entry["images"]
        order = images_of(*chosen_by(chosen, spec.holdout, spec.seed))
        table = reader.read()
        rows = table.rows
        self._readers[folder.path] = (
            reader,
            rows.counts.nbytes + rows.selection_counts.nbytes + 32 * len(rows),
        )
        while len(self._readers) > 1 and sum(size for _, size in self._readers.values()) > KEPT_BYTES:
            self._readers.popitem(last=False)
        return finished_prefix(table, order), len(order)

    def _read(self, folder: Run, run: RunView, name: str, alpha: float) -> Curve:
        rule = find_certificate(name)
        begun, planned = self._table(folder, run)
        spec = folder.count_spec
        # Where every noise position was counted, n and alpha mean nothing.
        n, level = (spec.n, alpha) if spec.estimated else (0, 0.0)
        shared = about_shared_noise([spec.seed]) if spec.shares_noise else ""
        late = about_late_images([(len(begun.rows), planned)]) if spec.stopping != "fixed" else ""
        about = Curve(
            run.key, run.title, name, rule.guarantee.label(alpha, spec.arithmetic), rule.norm, level, n, len(begun.rows), planned,
            problems=(*begun.problems, *filter(None, [shared, late])),
        )  # fmt: skip
        if not len(begun.rows):
            return about
        if _kind(run) not in self._refused:
            self._refused[_kind(run)] = refusals(begun.restrict([]).counts())
        short = too_few(asked_of(name, begun, alpha, run.entry["radii"]))
        about = replace(about, warning=said(verdict(begun.rows)) or run.warning)
        return certified_line(
            replace(about, problems=(*about.problems, *short)),
            rule.certify(begun.counts(), alpha),
            begun.rows.label,
            run.entry["radii"],
        )

    def _logged(self, folder: Run, run: RunView, certificate: str | None, alpha: float | None) -> Curve:
        """The curve of an imported log, which never changes."""
        key = (run.key, certificate or "", alpha or 0.0)
        if key not in self._known or self._known[key][0] is not run.entry:
            about, found = logged_curve(folder.path, run, certificate, alpha)
            if found is not None and about.images:
                labels = Import(folder.path).radii.label
                wrong = judge(tally(labels, found.certified.predicted), training=False)
                about = replace(about, warning=said(wrong))
                about = certified_line(about, found.certified, labels, run.entry["radii"])
                if not found.caps:
                    about = replace(about, cap_share=float("nan"))
            self._known[key] = (run.entry, about)
        return self._known[key][1]

    def _findings(self, folder: Run, run: RunView) -> Curve:
        """The curve of a verifier or an attack, read again when a file changed."""
        stamp = _stamp(folder)
        if run.key not in self._found or self._found[run.key][0] != stamp:
            self._found[run.key] = (stamp, findings_curve(folder, run))
        return self._found[run.key][1]


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
