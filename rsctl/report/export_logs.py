"""Our own runs as logs of Cohen's format, so that other people's notebooks read them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rsctl.report.logs import log_text
from rsctl.report.measured import Results
from rsctl.report.output import write as write_file
from rsctl.report.rows import Sample, sweep_results
from rsctl.store.imports import find_sweep
from rsctl.store.layout import Store


def export_logs(
    store: Store, name: str, folder: Path, *, force: bool = False, **options: Any
) -> tuple[list[Path], Results]:
    """One log per row of a sweep, imported ones included; `options` as for `sweep_results`.

    The file's name carries run, certificate and σ. A log has no place for n and alpha: they are in the results.
    """
    written: list[Path] = []
    names: Counter[str] = Counter()

    def write(stem: str, rows: Iterator[tuple[int, int, int, float, float]]) -> None:
        names[stem] += 1
        again = f"-{names[stem]}" if names[stem] > 1 else ""
        file = folder / f"{stem}{again}.tsv"
        write_file(file, "tsv", log_text(rows).encode(), force=force)
        written.append(file)

    def each(sample: Sample) -> None:
        row, rows, certified = sample.row, sample.table.rows, sample.certified
        write(
            f"{row.run}-{row.certificate}-sigma_{row.sigma:g}",
            _zipped((rows.index, rows.label, certified.predicted, certified.radius, rows.seconds)),
        )

    results = sweep_results(store, name, each=each, **options)
    shown = {row.run for row in results.logged}
    for one in find_sweep(store, name)[1]:
        if one.log.id in shown:
            spec, radii = one.log.spec, one.log.radii
            write(
                f"{one.log.id}-{spec.certificate}-sigma_{spec.sigma:g}",
                _zipped((radii.index, radii.label, radii.predicted, radii.radius, radii.seconds)),
            )
    return written, results


def _zipped(columns: Sequence[Any]) -> Iterator[Any]:
    # Python's own numbers: their repr is what a log holds.
    return zip(*(column.tolist() for column in columns), strict=True)
