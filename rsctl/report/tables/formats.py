"""The same rows as Markdown, CSV, LaTeX or JSON. Text from outside is escaped in each."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rsctl.errors import InputError
from rsctl.plain import printable
from rsctl.report.baselines import ROUNDED, Published, beside
from rsctl.report.tables.attacks import attack_tables, attack_values
from rsctl.report.tables.cells import (
    about_best,
    best_table,
    condensed,
    deviations,
    lines_table,
    published_table,
)
from rsctl.report.tables.families import families, family_table, family_values
from rsctl.report.tables.latex import latex
from rsctl.report.tables.legend import legend
from rsctl.report.tables.summary import best_sigmas, caption
from rsctl.report.typeset import escape_csv, escape_markdown
from rsctl.results.cascade import draws_saved
from rsctl.results.lines import groups
from rsctl.results.long_rows import COLUMNS, long_rows, number_or_none
from rsctl.results.sweep import Results

FORMATS = ("md", "csv", "latex", "json")
ENDINGS = {".tex": "latex", ".latex": "latex", ".csv": "csv", ".json": "json"} | dict.fromkeys(
    ("", ".md", ".markdown", ".txt"), "md"
)
"""Formats of files, by the ending of their names."""


def by_ending(file: Path | None) -> str:
    """The format of a file by its ending; raises InputError for an unknown ending."""
    ending = file.suffix.lower() if file else ""
    if ending not in ENDINGS:
        raise InputError(
            f"-o {file}: the ending {ending} is not that of a table: {', '.join(filter(None, ENDINGS))}. Give --format too. "
            "`rsctl plot` draws figures."
        )
    return ENDINGS[ending]


def render(
    results: Results,
    form: str,
    *,
    intervals: bool = False,
    merge_seeds: bool = True,
    baselines: Sequence[Published] = (),
    brief: bool = False,
) -> str:
    """The table as text in one of `FORMATS`.

    `intervals` puts the 95 % interval into every cell of a printed table (CSV and JSON always have them);
    `merge_seeds` prints mean ± standard deviation for runs that differ in the training seed alone;
    `baselines` are published tables to show beside, apart from one's own numbers;
    `brief` leaves out what the columns mean, and no note.
    """
    if form == "csv":
        return to_csv(results, baselines)
    if form == "json":
        return to_json(results, baselines)
    shown = markdown if form == "md" else latex
    return shown(results, intervals=intervals, merge_seeds=merge_seeds, baselines=baselines, brief=brief)


def markdown(
    results: Results, *, intervals: bool = False, merge_seeds: bool = True, baselines: Sequence[Published] = (), brief: bool = False
) -> str:  # fmt: skip
    """Pipe tables: one per group of comparable rows, the best σ per radius, baselines, the columns' meanings, and the notes."""
    heads: list[str] = []
    lines = [f"# {escape_markdown(results.sweep)}", ""]

    def add(about: str, table: list[list[str]]) -> None:
        heads.extend(table[0])
        table, said = condensed(table)
        lines.extend([escape_markdown(f"{about} {said}".rstrip()), "", *_pipes(table), ""])

    if results.description:
        lines += [*map(escape_markdown, results.description.splitlines()), ""]
    for group in groups(results.every, merge_seeds=merge_seeds):
        add(f"{caption(group)} {deviations(group)}".rstrip(), lines_table(group, intervals=intervals))
        best = best_sigmas(group)
        if best:
            add(f"{about_best(best)}.", best_table(group, best))
    for family in families(results):
        add(family.caption, family_table(family))
    for text, table in attack_tables(results.attacked):
        add(text, table)
    for published in baselines:
        add(f"Published, not measured here: {published.heading} {ROUNDED}", published_table(published))
    meanings = "" if brief else legend(heads)
    lines += [escape_markdown(meanings), ""] if meanings else []
    notes = results.notes + beside(results.every, baselines)
    lines += [f"Note: {escape_markdown(note)}  " for note in notes]
    return "\n".join(lines).rstrip() + "\n"


def _pipes(table: Sequence[Sequence[str]]) -> list[str]:
    """Header and body as a pipe table, padded so that it reads as plain text too."""
    escaped = [[escape_markdown(cell) for cell in line] for line in table]
    widths = [max(len(line[i]) for line in escaped) for i in range(len(escaped[0]))]
    rows = [
        "| " + " | ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) + " |"
        for line in escaped
    ]
    return [rows[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *rows[1:]]


def to_csv(results: Results, baselines: Sequence[Published] = ()) -> str:
    """Long form: one line per row and radius. Published numbers come last, with `published` as their source."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=COLUMNS, lineterminator="\n")
    writer.writeheader()
    rows = long_rows(results) + [
        {key: row.get(key) for key in COLUMNS} for one in baselines for row in one.long_rows()
    ]
    writer.writerows({key: escape_csv(value) for key, value in row.items()} for row in rows)
    return text.getvalue()


def to_json(results: Results, baselines: Sequence[Published] = ()) -> str:
    """The rows of the CSV, with the merged lines, the best σ per radius, baselines and notes under keys of their own."""
    lines, best = [], []
    for group in groups(results.every):
        for line in group.lines:
            for column, radius in enumerate(group.radii):
                spread = line.accuracy(column)
                lines.append(
                    {"runs": [row.run for row in line.rows], "method": line.first.method, "settings": line.label,
                     "model": line.first.model, "sigma": None if line.first.levels else line.first.sigma, "seeds": len(line.rows), "missing_seeds": len(line.missing), "radius": radius,
                     "certified_accuracy": number_or_none(spread.mean), "deviation": number_or_none(spread.deviation)}
                )  # fmt: skip
        for method in best_sigmas(group):
            for radius, line in zip(group.radii, method.lines, strict=True):
                about = {"settings": method.label, "model": method.model, "radius": radius}
                best.append({**about, "sigma": line.first.sigma, "seeds": len(line.rows)})
    values: dict[str, Any] = {
        "sweep": results.sweep,
        "description": results.description,
        "rows": long_rows(results),
        "lines": lines,
        "best_sigmas": best,
        "notes": [printable(note) for note in results.notes + beside(results.every, baselines)],
    }
    if saved := [{"cascade": row.run, **found} for row in results.cascades if (found := draws_saved(row))]:
        values["as_needed"] = saved
    if together := families(results):
        values["families"] = [row for family in together for row in family_values(family)]
    if results.attacked:
        values["attacks"] = [attack_values(row) for row in results.attacked]
    if results.broken:
        values["broken"] = [one.__dict__ for one in results.broken]
    if baselines:
        values["baselines"] = [{**one.values, "rows": one.long_rows()} for one in baselines]
    return json.dumps(values, indent=1, allow_nan=False) + "\n"
