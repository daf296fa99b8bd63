"""The tables of a package, and the certified radii of its runs, computed from its members alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from rsctl.certificates import Certified, find_certificate
from rsctl.errors import UserError
from rsctl.package.clean import Scrubber
from rsctl.package.format import TABLES
from rsctl.report.tables.formats import render
from rsctl.results.sweep import Results, sweep_results
from rsctl.store.hdf5 import encode
from rsctl.store.layout import Run, Store
from rsctl.store.plan_fields import PlanEntry
from rsctl.store.rows import Rows
from rsctl.store.run_kinds import RunKind
from rsctl.store.tables import StoredTable, read_table


def tables_of(store: Store, sweep: str) -> tuple[dict[str, bytes], Results]:
    """The tables of a composed store in every format, by the names of their members."""
    results = sweep_results(store, sweep)
    scrubber = Scrubber(folders=[str(store.root)])
    return {name: scrubber.text(render(results, form)).encode() for form, name in TABLES.items()}, results


def certified_file(run: Run, entries: Iterable[PlanEntry]) -> bytes | None:
    """Labels and radii of a run's images under each certificate of its sweep; None where there are none."""
    table = read_table(run)
    alpha, found = certified_by(run, table, entries)
    if not found:
        return None

    def write(file: Any) -> None:
        file.attrs["alpha"], file.attrs["spec_hash"] = alpha, run.spec.hash
        file["index"], file["label"] = table.rows.index, table.rows.label
        for name, certified in found.items():
            file[f"{name}/radius"] = np.asarray(certified.radius, "f8")
            file[f"{name}/predicted"] = np.asarray(certified.predicted, "i4")

    return encode(write)


def certified_by(
    run: Run, table: StoredTable[Rows], entries: Iterable[PlanEntry]
) -> tuple[float, Mapping[str, Certified]]:
    """Alpha and radii of every finished image, by certificate; those that refuse the table are left out."""
    own = [entry for entry in entries if entry.kind is RunKind.COUNTS and entry.run == run.id and entry.alpha]
    if not own or not len(table.rows):
        return 0.0, {}
    alpha, found = float(own[0].alpha or 0), {}
    for name in dict.fromkeys(name for entry in own for name in entry.certificates):
        try:
            found[name] = find_certificate(name).certify(table.counts(), alpha)
        except UserError:
            continue  # the tables' notes give the reason
    return alpha, found
