"""The report of `rsctl import` on its files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rsctl.plain import printable
from rsctl.report.radius_logs.import_logs import Imported, skipped, some_files
from rsctl.results.rounding import plain
from rsctl.text import counted

NAMED = 10
"""Most skipped files that are named per reason."""


def describe(found: Sequence[Imported]) -> str:
    """One line per log with its remarks, one per reason for skipped files, and the totals."""
    lines = []
    for one in found:
        if one.run:
            lines.append(
                f"{one.state:9} {printable(one.file)}: {one.run}, {counted(one.rows, 'image')} ({one.subset}), {printable(_about(one))}"
            )
            lines += [f"          {printable(remark)}" for remark in one.remarks]
    for reason, files in skipped(found).items():
        lines.append(f"skipped   {some_files(files, NAMED)}: {printable(reason)}")
    counts = Counter(one.state for one in found)
    states = ("new", "changed", "unchanged", "skipped")
    lines.append(", ".join(f"{plain(counts[state])} {state}" for state in states if counts[state]))
    if any(one.method_from == "path" for one in found):
        lines.append("Methods are named after their paths; --method sets another name.")
    return "\n".join(lines)


def _about(one: Imported) -> str:
    told = [f"method '{one.method}'", f"σ = {one.sigma:g}"]
    if one.trained_sigma not in (None, one.sigma):
        told.append(f"trained at σ = {one.trained_sigma:g}")
    told += [f"split {one.split}"] if one.split != "test" else []
    told += [f"seed {one.seed}"] if one.seed is not None else []
    told += [one.certificate] if one.certificate != "cohen" else []
    return ", ".join([*told, *(["counts"] if one.counts else [])])
