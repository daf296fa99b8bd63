"""Single runs and imported logs, for comparisons and notebooks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rsctl.config.cascades import cascade_id, split_id
from rsctl.errors import InputError
from rsctl.results.cascade import cascade_of
from rsctl.results.counts import measure_counts, measure_level
from rsctl.results.image_order import assigned_to, requested_by
from rsctl.results.logs import NoCountsError, measure_log
from rsctl.results.measurement import Measurement
from rsctl.results.tuned import mark_tuned
from rsctl.results.verifications import measure_proofs, verify_spec
from rsctl.store.imports import Import, ShownImport, imports, shown_record
from rsctl.store.layout import Run, Store
from rsctl.store.tables import read_findings, read_table


def open_run(
    store: Store, name: str, certificate: str | None = None, alpha: float | None = None
) -> Measurement:
    """A run or an imported log, by its id, its path, or a unique beginning of its id; or the cascade `RUN@τ+RUN` of several.

    Certificate and alpha default to those of the last submission. Raises InputError where the name fits none
    or several, or where a log should be certified anew.
    """
    path = Path(name)
    if "+" in name and not path.exists():
        return open_cascade(store, name, certificate, alpha)
    if path.parent.name == "imports" and (path / "spec.json").is_file():
        return measure_import(Import(path.resolve()), certificate, alpha)
    if not (path / "spec.json").is_file():
        logs = list(imports(store))
        found = [one for one in logs if one.id == name] or [one for one in logs if one.id.startswith(name)]
        runs = [run for run in store.runs("counts") if run.id.startswith(name)]
        if len(found) == 1 and not runs:
            return measure_import(found[0], certificate, alpha)
        if found:
            several = ", ".join([one.id for one in found][:6] + [run.id for run in runs][:6])
            raise InputError(f"run '{name}' is ambiguous: {several}. Give a longer beginning of its id.")
        if len(runs) == 1:
            return measure_run(runs[0], certificate, alpha)
    run = store.find_run(name)
    if run.kind == "models":
        tables = [counts for counts in run.store.runs("counts") if counts.count_spec.model_run == run.id]
        if len(tables) != 1:
            raise InputError(
                f"{run.id} is a model with {len(tables)} certification runs{': ' if tables else ''}"
                f"{', '.join(table.id for table in tables[:6])}. Name one of them."
            )
        run = tables[0]
    return measure_run(run, certificate, alpha)


def open_cascade(
    store: Store, name: str, certificate: str | None = None, alpha: float | None = None
) -> Measurement:
    """The cascade of the runs and thresholds in `RUN@τ+RUN`; `certificate` is for its levels by themselves."""
    names, taus = split_id(name)
    levels = [_open_level(store, one, certificate, alpha) for one in names]
    for one in levels:
        if one.kind != "counts":
            raise InputError(
                f"{one.run}: a level of a cascade needs counts of a certification run of this store."
            )
    return mark_tuned(store, [cascade_of(levels, taus)])[0]


def _open_level(store: Store, name: str, certificate: str | None, alpha: float | None) -> Measurement:
    runs = [run for run in store.runs("counts") if run.id.startswith(name)]
    if len(runs) == 1 and runs[0].count_spec.needed:
        level = alpha or float(runs[0].launch()["alpha"])
        return measure_level(read_table(runs[0]), assigned_to(runs[0]), "", level)
    return open_run(store, name, certificate, alpha)


def measure_run(
    run: Run,
    certificate: str | None = None,
    alpha: float | None = None,
    chosen: Mapping[str, Any] | None = None,
) -> Measurement:
    """The finished images of a certification run or a verification: of the `chosen` images of a sweep, or of all."""
    order = requested_by(chosen, run.table_spec) if chosen else assigned_to(run)
    if run.kind == "verifications":
        verifier = verify_spec(run).verifier
        if certificate not in (None, verifier) or alpha is not None:
            raise InputError(
                f"{run.id}: holds proofs of '{verifier}', without alpha or counts: no other radii can be derived."
            )
        proofs = read_findings(run)
        return measure_proofs(proofs.restrict(order.positions) if chosen else proofs, order)
    if alpha is not None and not 0 < alpha < 1:
        raise InputError(f"alpha: must be inside (0, 1), but it is {alpha}.")
    launch = run.launch()
    if run.kind == "counts" and run.count_spec.needed and certificate is None:
        raise InputError(
            f"{run.id}: samples only what earlier levels of its cascade leave. Name the cascade, {cascade_id([*run.count_spec.needed.runs, run.id], run.count_spec.needed.taus)}."
        )
    certificate, alpha = certificate or str(launch["certificates"][0]), alpha or float(launch["alpha"])
    counts = read_table(run)
    return measure_counts(counts.restrict(order.positions) if chosen else counts, order, certificate, alpha)


def measure_import(log: Import, certificate: str | None = None, alpha: float | None = None) -> Measurement:
    """An imported log; other radii can be derived where it holds counts."""
    shown = shown_record(log) or ShownImport(log, None, None, None, "", [])
    try:
        return measure_log(shown, certificate, alpha)
    except NoCountsError:
        raise InputError(
            f"{log.id}: is an imported log of '{log.spec.certificate}' at alpha = {shown.alpha}, without counts: no other radii can be derived."
        ) from None
