"""A sweep's rows, recomputed from stored counts: certified accuracy by radius, with everything that qualifies it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from rsctl.catalog import known_verifiers
from rsctl.certificates import Certificate, Certified, find_certificate
from rsctl.certificates.possible import Asked, too_few, too_few_to_confirm
from rsctl.certificates.sequential import loss
from rsctl.config.permutation import chosen_by, images_of
from rsctl.config.runs import TrainSpec
from rsctl.errors import InputError
from rsctl.report.attacked import AttackedRow, attacked_row
from rsctl.report.begun import about_late_images, finished_prefix
from rsctl.report.broken import Break, find_breaks, tell
from rsctl.report.clean import clean_accuracy
from rsctl.report.data_files import Files
from rsctl.report.learned import about_degenerate, about_missing
from rsctl.report.logged import logged_rows
from rsctl.report.measured import (
    CONFIDENCE,
    AnyRow,
    Cell,
    LoggedRow,
    Measured,
    OwnRow,
    ProvedRow,
    Results,
    Row,
    average_radius,
    curve,
    subset_key,
)
from rsctl.report.notes import about_functions, asked_of, mark_varying, seedless, settings_of, warnings
from rsctl.report.only import Only, each_once
from rsctl.report.proved import about_proofs, as_certified, proved_row, verify_spec
from rsctl.report.tables.families import Scored, families
from rsctl.store.degenerate import of_folder
from rsctl.store.imports import find_sweep
from rsctl.store.layout import Run, Store
from rsctl.store.plan_fields import ImagesRecord, PlanEntry
from rsctl.store.records import skipped_records
from rsctl.store.rows import Findings, Rows
from rsctl.store.run_kinds import RunKind
from rsctl.store.tables import Reader, StoredTable
from rsctl.store.tally import verdict
from rsctl.text import nth

__all__ = [
    "CONFIDENCE",
    "AnyRow",
    "Cell",
    "LoggedRow",
    "Measured",
    "Results",
    "Row",
    "Sample",
    "curve",
    "settings_of",
    "sweep_results",
]


@dataclass(frozen=True)
class Sample:
    """The images of one row, one by one, for curves, comparisons and logs."""

    row: Row
    table: StoredTable[Rows]
    certified: Certified


def sweep_results(
    store: Store,
    name: str,
    *,
    certificate: str | None = None,
    alpha: float | None = None,
    radii: Sequence[float] | None = None,
    readers: dict[str, Reader[Rows]] | None = None,
    each: Callable[[Sample], None] | None = None,
    only: Only | None = None,
) -> Results:
    """The rows of a sweep, recomputed from stored counts; works while shards are still being written.

    `readers` (by run id) caches files for repeated calls. `each` is called with the images
    of every own row in turn, so that a thousand runs needn't be in memory at once.
    Imported logs follow with their printed radii; another certificate or alpha leaves them out.
    """
    if alpha is not None and not 0 < alpha < 1:
        raise InputError(f"alpha: must be inside (0, 1), but it is {alpha}.")
    plan, imports = find_sweep(store, name)
    rows: list[Row] = []
    notes: list[str] = []
    if only is not None:
        plan, imports, notes = only.of(store, plan, imports)
    orders: dict[tuple[Any, ...], NDArray[np.int64]] = {}
    files = Files()
    stopped: dict[str, list[tuple[Row, Any]]] = {}
    proved: list[ProvedRow] = []
    scored: list[Scored] = []
    attacked: list[AttackedRow] = []
    asked: list[Asked] = []
    compared = any(entry.kind is RunKind.VERIFICATIONS for entry in plan["entries"])
    for entry in each_once(plan["entries"], certificate, alpha, radii):
        run = store.run(entry.kind, entry.run)
        if entry.left_out and entry.left_out not in notes:
            notes.append(entry.left_out)
        train = store.model(entry.model).train_spec
        if entry.kind is RunKind.VERIFICATIONS and certificate in (None, verify_spec(run).verifier):
            row, table_of_proofs = _proved(run, train, entry, radii, orders, files)
            proved.append(row)
            scored.append(_scored(row, table_of_proofs, as_certified(table_of_proofs.rows)))
        if entry.kind is RunKind.ATTACKS:
            attacked.append(_attacked(run, train, entry, radii, orders, files))
        if entry.kind is not RunKind.COUNTS or certificate in known_verifiers():
            continue
        reader = Reader(run, Rows) if readers is None else readers.setdefault(run.id, Reader(run, Rows))
        table = files.read(reader)
        chosen = entry.images
        order = _order(run, chosen, orders)
        begun = finished_prefix(table, order)
        notes += [note for note in about_functions(begun) if note not in notes]
        for wanted in [certificate] if certificate else entry.certificates:
            sample = _sample(
                begun, train, wanted, alpha or entry.alpha or 0.0, radii or entry.radii, order, chosen
            )
            rows.append(sample.row)
            asked += asked_of(wanted, begun, sample.row.alpha, radii or entry.radii)
            if compared:
                scored.append(_scored(sample.row, begun, sample.certified))
            if sample.row.stopping != "fixed" and sample.row.images:
                short = loss(begun.counts(), sample.row.alpha)
                stopped.setdefault(sample.row.stopping, []).append((sample.row, short))
            if each:
                each(sample)
    broken = find_breaks(store, plan["entries"])
    mark_varying(rows)
    for alike in {(row.spec.norm, row.spec.target, row.spec.attack) for row in attacked}:
        # Other attacks have their own tables, or a column that names them.
        several = [row for row in attacked if (row.spec.norm, row.spec.target, row.spec.attack) == alike]
        mark_varying(cast("list[OwnRow]", several))
    for verifier in {row.certificate for row in proved}:
        mark_varying([row for row in proved if row.certificate == verifier])
    told = (
        tell(broken)
        + about_degenerate([*rows, *proved, *attacked])
        + files.notes
        + notes
        + warnings(rows, attacked)
    )
    open_ended = [row for row in rows if row.stopping != "fixed"]
    late = about_late_images((row.images, row.planned) for row in [*open_ended, *proved])
    told += [late] if late else []
    told += about_missing(store, [*rows, *proved])
    runs = {(entry.kind, entry.run) for entry in plan["entries"]}
    runs |= {(RunKind.MODELS, entry.model) for entry in plan["entries"]}
    told += skipped_records([store.sweep_folder(name), *(store.run(*one).path for one in runs)])
    _mark_broken([*rows, *proved], broken)
    sampled = (entry.radii for entry in plan["entries"] if entry.kind is RunKind.COUNTS)
    columns = list(radii or next(sampled, ()))
    logged, about_logs = logged_rows(imports, columns, certificate, alpha)
    return Results(
        name,
        plan["description"],
        rows,
        told
        + too_few(asked)
        + too_few_to_confirm(row.spec for row in attacked)
        + _about_stopping(stopped)
        + about_proofs(proved)
        + about_degenerate(logged)
        + about_logs,
        logged,
        proved,
        families(scored, radii),
        attacked,
        broken,
    )


def _mark_broken(rows: Sequence[OwnRow], broken: Sequence[Break]) -> None:
    """Mark the names of rows whose certificates an attack contradicts."""
    for row in rows:
        images = {
            one.image
            for one in broken
            if one.certified_by.endswith(f"/{row.run}") and one.certificate == row.certificate
        }
        if images:
            row.varying["BROKEN certificates"] = len(images)


def _attacked(
    run: Run, train: TrainSpec, entry: PlanEntry, radii: Sequence[float] | None, orders: dict[tuple[Any, ...], NDArray[np.int64]],
    files: Files,
) -> AttackedRow:  # fmt: skip
    table = files.read(Reader(run, Findings))
    order = _order(run, entry.images, orders)
    return attacked_row(finished_prefix(table, order), train, radii or entry.radii, len(order))


def _scored(row: OwnRow, table: StoredTable[Rows] | StoredTable[Findings], certified: Certified) -> Scored:
    return Scored(row, table.rows.index, table.rows.label, certified)


def _proved(
    run: Run, train: TrainSpec, entry: PlanEntry, radii: Sequence[float] | None, orders: dict[tuple[Any, ...], NDArray[np.int64]],
    files: Files,
) -> tuple[ProvedRow, StoredTable[Findings]]:  # fmt: skip
    table = files.read(Reader(run, Findings))
    order = _order(run, entry.images, orders)
    begun = finished_prefix(table, order)
    row = proved_row(begun, train, radii or entry.radii, order.tolist(), _subset(entry.images))
    return row, begun


def _order(
    run: Run, chosen: ImagesRecord, known: dict[tuple[Any, ...], NDArray[np.int64]]
) -> NDArray[np.int64]:
    """Positions of an entry in sampling order; most runs of a sweep share one order."""
    spec = run.table_spec
    key = chosen_by(chosen, spec.holdout, spec.seed)
    if key not in known:
        known[key] = np.array(images_of(*key), np.int64)
    return known[key]


def certify_run(run: Run, table: StoredTable[Rows], name: str, alpha: float) -> Certified:
    """Radii of the finished images; raises RefusedError where the certificate isn't sound for these counts."""
    rule = find_certificate(name)
    if not len(table.rows):
        return Certified(np.empty(0, np.int64), np.empty(0), np.empty(0, bool))
    return rule.certify(table.counts(), alpha)


def _sample(
    table: StoredTable[Rows], train: TrainSpec, name: str, alpha: float, radii: Sequence[float], order: NDArray[np.int64], chosen: ImagesRecord
) -> Sample:  # fmt: skip
    rule = find_certificate(name)
    certified = certify_run(table.run, table, name, alpha)
    labels, images = table.rows.label, len(table.rows)
    row = Row(
        run=table.run.id,
        train=train,
        count=table.run.count_spec,
        certificate=name,
        guarantee=rule.guarantee.label(alpha, table.run.count_spec.arithmetic),
        norm=rule.norm,
        k=rule.k,
        alpha=alpha,
        images=images,
        planned=len(order),
        cells=curve(certified, labels, radii),
        acr=average_radius(certified, labels),
        abstain_rate=float((certified.predicted == -1).mean()) if images else float("nan"),
        cap_share=float(certified.at_cap.mean()) if images else float("nan"),
        clean_accuracy=clean_accuracy(table.counts(), labels, alpha) if images else float("nan"),
        mean_draws=float(table.rows.n.mean()) if images else float("nan"),
        recipe=json.dumps(seedless(table.run.store, train), sort_keys=True),
        failure=_failure(rule, alpha),
        subset=_subset(chosen),
        subset_key=subset_key(order),
        degenerate=verdict(table.rows)
        or of_folder(table.run.store.run("models", table.run.count_spec.model_run).path),
    )
    return Sample(row, table, certified)


def _about_stopping(stopped: dict[str, list[tuple[Row, Any]]]) -> list[str]:
    """Notes on the savings and losses of sequential sampling, by its rule."""
    notes = []
    for rule, found in stopped.items():
        draws = [row.mean_draws for row, _ in found]
        notes.append(
            f"Images were sampled until '{rule}' was met: {min(draws):.0f} to {max(draws):.0f} draws per image on a run's average, of "
            f"at most {max(row.n for row, _ in found)}. With all draws radii would be larger by about {max(short.mean() for _, short in found):.3g} "
            f"on a run's average and {max(short.max() for _, short in found):.3g} at most (an estimate, no guarantee)."
        )
    return notes


def _failure(rule: Certificate, alpha: float) -> float | None:
    failure = rule.guarantee.times_alpha * alpha
    return failure if rule.guarantee.kind == "probabilistic" and failure < 1 else None


def _subset(chosen: ImagesRecord) -> str:
    part = "all" if chosen["skip"] == 1 else f"every {nth(chosen['skip'])}"
    drawn = f"{chosen['count']} drawn by seed from " if chosen["max"] else ""
    first, stop = chosen.get("start", 0), chosen.get("stop", 0) or chosen["of"]
    between = f" from {first} to {stop - 1}," if "start" in chosen or "stop" in chosen else ""
    return f"{drawn}{part}{between} of {chosen['of']}"
