"""The measurements of a sweep, from stored counts, proofs, attacks and imported logs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from rsctl.catalog import known_verifiers
from rsctl.certificates.cascade import Cascade
from rsctl.certificates.possible import Asked, too_few, too_few_to_confirm
from rsctl.certificates.sequential import loss
from rsctl.errors import InputError
from rsctl.results.attacks import attack_spec, measure_attack
from rsctl.results.cascade import KIND, cascades_of
from rsctl.results.contradictions import (
    Contradiction,
    describe_contradictions,
    find_contradictions,
    mark_contradicted,
)
from rsctl.results.counts import measure_counts
from rsctl.results.data_files import Files
from rsctl.results.image_order import ImageOrder, requested_by
from rsctl.results.learned import about_degenerate, about_missing
from rsctl.results.logs import measure_logs
from rsctl.results.measurement import Measurement
from rsctl.results.notes import about_functions, about_stopping, asked_of, mark_varying, warnings
from rsctl.results.partial import about_late_images, finished_prefix
from rsctl.results.row_filter import RowFilter, each_once
from rsctl.results.verifications import about_proofs, measure_proofs, verify_spec
from rsctl.store.imports import find_sweep
from rsctl.store.layout import Run, Store
from rsctl.store.plan_fields import PlanEntry
from rsctl.store.received import about_received
from rsctl.store.records import skipped_records
from rsctl.store.rows import DistanceBounds, Rows
from rsctl.store.run_kinds import RunKind
from rsctl.store.tables import R, Reader, StoredTable


@dataclass(frozen=True)
class Results:
    """The measurements of a sweep, with notes for their readers."""

    sweep: str
    description: str
    measurements: list[Measurement]
    """In the order of the sweep's plan, imported logs last."""
    notes: list[str]
    broken: list[Contradiction] = field(default_factory=list)
    """Certificates that an adversarial image contradicts."""
    radii: Sequence[float] | None = None
    """The radii that were requested instead of the sweep's own."""

    def of_kind(self, kind: str) -> list[Measurement]:
        return [one for one in self.measurements if one.kind == kind]

    @property
    def rows(self) -> list[Measurement]:
        """Counts under certificates."""
        return self.of_kind("counts")

    @property
    def cascades(self) -> list[Measurement]:
        """Cascades of the counts."""
        return self.of_kind(KIND)

    @property
    def proved(self) -> list[Measurement]:
        """Proofs about the sweep's models."""
        return self.of_kind("verifications")

    @property
    def attacked(self) -> list[Measurement]:
        """Attacks on the sweep's models."""
        return self.of_kind("attacks")

    @property
    def logged(self) -> list[Measurement]:
        """Imported logs of the sweep."""
        return self.of_kind("imports")

    @property
    def every(self) -> list[Measurement]:
        """Everything that certifies radii."""
        return [*self.rows, *self.cascades, *self.proved, *self.logged]


def sweep_results(
    store: Store,
    name: str,
    *,
    certificate: str | None = None,
    alpha: float | None = None,
    radii: Sequence[float] | None = None,
    only: RowFilter | None = None,
    cascade: Cascade | None = None,
) -> Results:
    """The measurements of a sweep, recomputed from stored counts; works while shards are still being written.

    Imported logs follow with their printed radii; another certificate or alpha leaves them out. With `cascade` its rows
    stand beside those of its levels.
    """
    if alpha is not None and not 0 < alpha < 1:
        raise InputError(f"alpha: must be inside (0, 1), but it is {alpha}.")
    plan, imports = find_sweep(store, name)
    found = _Loader(store, certificate, alpha, radii, keep=cascade is not None)
    if cascade:
        only = replace(only or RowFilter(), levels=cascade.sigmas)
    if only is not None:
        plan, imports, found.notes = only.of(store, plan, imports)
    entries = plan["entries"]
    for entry in each_once(entries, certificate, alpha, radii):
        found.load(entry)
    sampled = (entry.radii for entry in entries if entry.kind is RunKind.COUNTS)
    logged, about_logs = measure_logs(imports, list(radii or next(sampled, ())), certificate, alpha)
    results = Results(name, plan["description"], found.rows + logged, [], radii=radii)
    broken = find_contradictions(store, entries)
    _mark_settings(results)
    if cascade:
        joined, about = cascades_of(results.rows, cascade)
        found.notes += about
        results = replace(
            results, measurements=[*(replace(row, table=None) for row in results.measurements), *joined]
        )
    runs = {(entry.kind, entry.run) for entry in entries}
    runs |= {(RunKind.MODELS, entry.model) for entry in entries}
    folders = [store.sweep_folder(name), *(store.run(*one).path for one in runs)]
    notes = describe_contradictions(broken) + found.about(results) + skipped_records(folders)
    mark_contradicted([*results.rows, *results.proved], broken)
    notes += (
        too_few(found.asked)
        + too_few_to_confirm(attack_spec(row.spec) for row in results.attacked)
        + about_stopping(found.stopped)
        + about_proofs(results.proved)
        + about_degenerate(logged)
        + about_logs
        + about_received(folders)
    )
    return replace(results, notes=notes, broken=broken)


def _mark_settings(results: Results) -> None:
    """Set the settings that differ between rows that share a table or a column."""
    groups: dict[tuple[str, ...], list[Measurement]] = {}
    for row in filter(lambda row: row.own, results.measurements):
        # Verifiers and attacks have their own tables, or a column that names them.
        name = "" if row.kind == "counts" else row.certificate
        attack = (row.norm, attack_spec(row.spec).target) if row.kind == "attacks" else ()
        groups.setdefault((row.kind, name, *attack), []).append(row)
    for several in groups.values():
        mark_varying(several)


class _Loader:
    """Loads the entries of a sweep's plan, and collects what its readers have to be told."""

    def __init__(
        self,
        store: Store,
        certificate: str | None,
        alpha: float | None,
        radii: Sequence[float] | None,
        *,
        keep: bool,
    ) -> None:
        self._store, self._certificate, self._alpha, self._radii, self._keep = (
            store,
            certificate,
            alpha,
            radii,
            keep,
        )
        self._files = Files()
        self.rows: list[Measurement] = []
        self.notes: list[str] = []
        self.asked: list[Asked] = []
        self.stopped: dict[str, list[tuple[Measurement, Any]]] = {}

    def load(self, entry: PlanEntry) -> None:
        """Add the measurements of an entry; none where it has other certificates than the one requested."""
        run, radii = self._store.run(entry.kind, entry.run), self._radii or entry.radii
        if entry.left_out and entry.left_out not in self.notes:
            self.notes.append(entry.left_out)
        order = requested_by(entry.images, run.table_spec)
        if entry.kind is RunKind.COUNTS:
            if self._certificate not in known_verifiers():
                self._certify(run, entry, order, radii)
        elif entry.kind is RunKind.ATTACKS:
            self.rows.append(measure_attack(self._begun(Reader(run, DistanceBounds), order), order, radii))
        elif self._certificate in (None, verify_spec(run).verifier):
            self.rows.append(measure_proofs(self._begun(Reader(run, DistanceBounds), order), order, radii))

    def _begun(self, reader: Reader[R], order: ImageOrder) -> StoredTable[R]:
        return finished_prefix(self._files.read(reader), order.positions)

    def _certify(self, run: Run, entry: PlanEntry, order: ImageOrder, radii: Sequence[float]) -> None:
        table = self._begun(Reader(run, Rows), order)
        self.notes += [note for note in about_functions(table) if note not in self.notes]
        for name in [self._certificate] if self._certificate else entry.certificates:
            row = measure_counts(table, order, name, self._alpha or entry.alpha or 0.0, radii)
            self.asked += asked_of(row)
            # A thousand runs' counts needn't be in memory at once; the levels of a cascade are needed together.
            self.rows.append(row if self._keep else replace(row, table=None))
            if row.stopping != "fixed" and row.images:
                short = loss(table.counts(), row.alpha or 0.0)
                self.stopped.setdefault(row.stopping, []).append((self.rows[-1], short))

    def about(self, results: Results) -> list[str]:
        """Notes on networks, files, settings and unfinished images."""
        own = [*results.rows, *results.proved]
        slow = [row for row in own if row.stopping != "fixed" or row.kind == "verifications"]
        late = about_late_images((row.images, row.planned) for row in slow)
        return [
            *about_degenerate([*own, *results.attacked]),
            *self._files.notes,
            *self.notes,
            *warnings(results.rows, results.attacked),
            *([late] if late else []),
            *about_missing(self._store, own),
        ]
