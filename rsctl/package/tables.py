"""The tables of a package, and the certified radii of its runs, computed from its members alone."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rsctl.certificates import find_certificate
from rsctl.errors import UserError
from rsctl.package.clean import Scrubber
from rsctl.package.format import TABLES
from rsctl.report.tables.formats import render
from rsctl.results.sweep import Results, sweep_results
from rsctl.store.hdf5 import encode, put
from rsctl.store.layout import Run, Store
from rsctl.store.plan_fields import PlanEntry
from rsctl.store.rows import DistanceBounds, Rows
from rsctl.store.run_kinds import RunKind
from rsctl.store.tables import StoredTable, read_table, reader_of


def tables_of(store: Store, sweep: str) -> tuple[dict[str, bytes], Results]:
    """The tables of a composed store in every format, by the names of their members."""
    results = sweep_results(store, sweep)
    scrubber = Scrubber(folders=[str(store.root)])
    return {name: scrubber.text(render(results, form)).encode() for form, name in TABLES.items()}, results


Radii = tuple[NDArray[np.float64], NDArray[np.int32]]
"""Radius and predicted class of each image, (N,)."""


def certified_file(run: Run, entries: Iterable[PlanEntry]) -> bytes | None:
    """Labels, predicted classes and radii of a run's images, beside its rows; None where it has none."""
    table = reader_of(run).read()
    if not len(table.rows):
        return None
    alpha, found = radii_of(run, table, entries)

    def write(file: Any) -> None:
        file.attrs["alpha"], file.attrs["spec_hash"] = alpha, run.spec.hash
        file["index"], file["label"] = table.rows.index, table.rows.label
        for name, (radius, predicted) in found.items():
            put(file, f"{name}/radius", radius)
            put(file, f"{name}/predicted", predicted)

    return encode(write)


def radii_of(
    run: Run, table: StoredTable[Rows] | StoredTable[DistanceBounds], entries: Iterable[PlanEntry]
) -> tuple[float, dict[str, Radii]]:
    """Alpha, and the radii of every finished image by certificate; of a verifier or an attack its proved radii or its distances.

    Certificates that refuse the table are left out: the notes of the tables give the reason.
    """
    rows = table.rows
    if isinstance(rows, DistanceBounds):
        return 0.0, {
            run.kind.verb: (rows.upper if run.kind is RunKind.ATTACKS else rows.lower, rows.predicted)
        }
    counts = read_table(run).counts()
    own = [entry for entry in entries if entry.key == run.key and entry.alpha]
    alpha, found = float(own[0].alpha or 0) if own else 0.0, dict[str, Radii]()
    for name in dict.fromkeys(name for entry in own for name in entry.certificates):
        with contextlib.suppress(UserError):
            certified = find_certificate(name).certify(counts, alpha)
            found[name] = np.asarray(certified.radius, np.float64), certified.predicted.astype(np.int32)
    return alpha, found
