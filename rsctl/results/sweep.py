"""The measurements of a sweep, from stored counts, proofs, attacks and imported logs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from rsctl.catalog import known_verifiers
from rsctl.certificates.cascade import Cascade
from rsctl.certificates.possible import Asked, too_few, too_few_to_confirm
from rsctl.certificates.sequential import loss
from rsctl.errors import InputError, UserError
from rsctl.results.attacks import attack_spec, attacked_classifier, measure_attack
from rsctl.results.cascade import KIND, cascades_of, chosen_cascade, recorded
from rsctl.results.contradictions import (
    Contradiction,
    cascade_contradictions,
    describe_contradictions,
    find_contradictions,
    mark_contradicted,
)
from rsctl.results.counts import measure_counts, measure_level
from rsctl.results.data_files import Files
from rsctl.results.image_order import ImageOrder, requested_by
from rsctl.results.learned import about_degenerate, about_missing
from rsctl.results.logs import measure_logs
from rsctl.results.measurement import Measurement
from rsctl.results.notes import about_functions, about_stopping, asked_of, mark_varying, warnings
from rsctl.results.partial import about_late_images, finished_prefix
from rsctl.results.row_filter import RowFilter, each_once
from rsctl.results.tuned import about_tuned, mark_tuned
from rsctl.results.verifications import about_proofs, measure_proofs, verify_spec
from rsctl.store.imports import find_sweep
from rsctl.store.layout import Run, Store
from rsctl.store.plan_fields import CascadeEntry, PlanEntry
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
    cascade: Cascade | str | None = None,
) -> Results:
    """The measurements of a sweep, recomputed from stored counts; works while shards are still being written.

    Imported logs follow with their printed radii; another certificate or alpha leaves them out. The sweep's cascades come
    with their levels; with `cascade` (of noise levels, or `RUN@τ+RUN`) that one and its levels alone.
    """
    if alpha is not None and not 0 < alpha < 1:
        raise InputError(f"alpha: must be inside (0, 1), but it is {alpha}.")
    plan, imports = find_sweep(store, name)
    if isinstance(cascade, Cascade):
        only = replace(only or RowFilter(), levels=cascade.sigmas)
    about_filter: list[str] = []
    if only is not None:
        plan, imports, about_filter = only.of(store, plan, imports)
    wanted = [] if cascade or certificate in known_verifiers() else plan.get("cascades", [])
    if isinstance(cascade, str):
        wanted = [chosen_cascade(store, plan, name, cascade)]
        levels = {level.run for level in wanted[0].levels}
        plan, imports = {**plan, "entries": [one for one in plan["entries"] if one.run in levels]}, []
    keep = None if isinstance(cascade, Cascade) else {level.run for one in wanted for level in one.levels}
    found = _Loader(store, certificate, alpha, radii, keep=keep)
    found.notes += about_filter
    entries = plan["entries"]
    for entry in each_once(entries, certificate, alpha, radii):
        found.load(entry)
    sampled = next((entry.radii for entry in entries if entry.kind is RunKind.COUNTS), ())
    wanted = [one for one in wanted if found.add_levels(one, radii or sampled, strict=bool(cascade))]
    logged, about_logs = measure_logs(imports, list(radii or sampled), certificate, alpha)
    results = Results(name, plan["description"], found.rows + logged, [], radii=radii)
    broken = find_contradictions(store, entries)
    _mark_settings(results)
    found.mark_others(wanted)
    if cascade or wanted:
        joined, about = (
            cascades_of(results.rows, cascade)
            if isinstance(cascade, Cascade)
            else recorded(wanted, found.level, strict=bool(cascade))
        )
        joined = mark_tuned(store, joined)
        broken += cascade_contradictions(store, joined)
        found.notes += [*about_tuned(joined), *about]
        results = replace(
            results, measurements=[*(replace(row, table=None) for row in results.measurements), *joined]
        )
    runs = {
        (entry.kind, entry.run) for entry in [*entries, *(level for one in wanted for level in one.levels)]
    }
    runs |= {(RunKind.MODELS, entry.model) for entry in entries}
    folders = [store.sweep_folder(name), *(store.run(*one).path for one in runs)]
    notes = describe_contradictions(broken) + found.about(results) + skipped_records(folders)
    mark_contradicted([*results.rows, *results.cascades, *results.proved], broken)
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
        attack = (row.norm, attacked_classifier(attack_spec(row.spec))) if row.kind == "attacks" else ()
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
        keep: Collection[str] | None,
    ) -> None:
        self._store, self._certificate, self._alpha, self._radii, self._keep = (
            store,
            certificate,
            alpha,
            radii,
            keep,
        )
        self._files = Files()
        self._levels: dict[tuple[str, str, float], Measurement] = {}
        """First measurement of the counts of levels, by run, choice of images and alpha."""
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
        if run.count_spec.needed:
            level = measure_level(table, order, "", self._alpha or entry.alpha or 0.0, radii)
            self._levels.setdefault((run.id, level.subset_key, level.alpha or 0.0), level)
            return
        for name in [self._certificate] if self._certificate else entry.certificates:
            row = measure_counts(table, order, name, self._alpha or entry.alpha or 0.0, radii)
            self.asked += asked_of(row)
            # A thousand runs' counts needn't be in memory at once; the levels of a cascade are needed together.
            kept = self._keep is None or run.id in self._keep
            self.rows.append(row if kept else replace(row, table=None))
            if kept:
                self._levels.setdefault((run.id, row.subset_key, row.alpha or 0.0), row)
            if row.stopping != "fixed" and row.images:
                short = loss(table.counts(), row.alpha or 0.0)
                self.stopped.setdefault(row.stopping, []).append((self.rows[-1], short))

    def add_levels(self, cascade: CascadeEntry, radii: Sequence[float], *, strict: bool) -> bool:
        """Load the levels that are no rows yet: those of other sweeps, as rows beside the sweep's own.

        False, with a note, where one can't be read; if `strict` the error is raised.
        """
        try:
            for entry, sweep in zip(cascade.levels, cascade.sweeps, strict=True):
                if self._key(entry) not in self._levels:
                    rows = list(self.rows)
                    self.load(
                        replace(entry, radii=list(radii or entry.radii), certificates=entry.certificates[:1])
                    )
                    self.rows = self.rows if sweep else rows
        except UserError as error:
            if strict:
                raise
            self.notes.append(f"Left out: the cascade {cascade.id}: {error}")
            return False
        return True

    def mark_others(self, cascades: Sequence[CascadeEntry]) -> None:
        """Name the sweep of the levels that are from another one."""
        for cascade in cascades:
            for entry, sweep in zip(cascade.levels, cascade.sweeps, strict=True):
                if sweep:
                    self.level(entry).varying["sweep"] = sweep

    def level(self, entry: PlanEntry) -> Measurement:
        """The measurement of a level."""
        return self._levels[self._key(entry)]

    def _key(self, entry: PlanEntry) -> tuple[str, str, float]:
        order = requested_by(entry.images, self._store.run(entry.kind, entry.run).table_spec)
        return entry.run, order.key, self._alpha or entry.alpha or 0.0

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
