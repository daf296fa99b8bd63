"""Export of runs as logs in Cohen's format, readable by other code, and by `rsctl import` with their metadata."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from rsctl.errors import UserError
from rsctl.report.output import write
from rsctl.report.radius_logs.logs import log_text
from rsctl.report.radius_logs.manifest import MANIFEST, earlier_logs
from rsctl.results.measurement import Measurement
from rsctl.results.sweep import Results, sweep_results
from rsctl.store.fields import LOGS
from rsctl.store.files import publish, read_json, replace, to_json
from rsctl.store.layout import Store
from rsctl.store.records import digest_of

_STATED = (
    "method", "dataset", "split", "model", "certificate", "sigma", "trained_sigma", "seed", "n", "n0", "alpha",
)  # fmt: skip


def export_logs(
    store: Store, name: str, folder: Path, *, force: bool = False, **options: Any
) -> tuple[list[Path], Results]:
    """One log per row of a sweep, imported ones included; `options` as for `sweep_results`.

    The file's name carries run, certificate and σ; all that a log has no place for is in a file beside the logs, which
    an import reads.
    """
    names: Counter[str] = Counter()
    about = earlier_logs(folder, force)
    results = sweep_results(store, name, **options)
    files = []
    for row in [*results.rows, *results.cascades, *sorted(results.logged, key=lambda row: row.run)]:
        stem = f"{row.run}-{row.certificate}" + ("" if row.levels else f"-sigma_{row.sigma:g}")
        names[stem] += 1
        again = f"-{names[stem]}" if names[stem] > 1 else ""
        file = folder / f"{stem}{again}.tsv"
        found = row.certified
        columns = (row.index, row.labels, found.predicted, found.radius, row.seconds)
        # Python's own numbers: their repr is what a log holds.
        rows = zip(*(column.tolist() for column in columns), strict=True)
        write(file, "tsv", log_text(rows).encode(), force=force)
        files.append(file)
        about[file.name] = _about(row)
    data = to_json({"rsctl": "logs", "logs": about})
    if not publish(folder / MANIFEST, data):
        replace(folder / MANIFEST, data)
    return files, results


def exported(file: Path) -> dict[str, Any]:
    """The values that an export stated of this log; empty where there is none beside it."""
    try:
        said = read_json(file.parent / MANIFEST, LOGS)["logs"].get(file.name, {})
    except UserError:
        return {}
    if said.get("digest", digest := digest_of(said, _STATED)) != digest:
        return {}
    return {key: said[key] for key in _STATED if said.get(key) or (key == "seed" and said.get(key) == 0)}


def _about(row: Measurement) -> dict[str, Any]:
    values = {
        "method": row.name if row.own else row.method, "dataset": row.dataset, "split": row.split, "model": row.model,
        "sigma": row.sigma, "trained_sigma": None if row.trained_sigma == row.sigma else row.trained_sigma, "seed": row.seed,
        "certificate": row.certificate, "n": row.n, "n0": row.n0, "alpha": row.alpha,
    }  # fmt: skip
    if row.levels:
        del values["sigma"]
    return {**values, "digest": digest_of(values, _STATED)}
