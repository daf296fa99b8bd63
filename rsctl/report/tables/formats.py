"""The same rows as Markdown, CSV, LaTeX or JSON. Text from outside is escaped in each."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rsctl.errors import InputError
from rsctl.plain import printable
from rsctl.report.attacked import attack_tables, attack_values
from rsctl.report.baselines import ROUNDED, Published, beside
from rsctl.report.measured import Results
from rsctl.report.tables.cells import (
    about_best,
    best_table,
    condensed,
    deviations,
    lines_table,
    published_table,
)
from rsctl.report.tables.families import family_table, family_values
from rsctl.report.tables.latex import latex
from rsctl.report.tables.legend import legend
from rsctl.report.tables.summary import best_sigmas, caption, groups
from rsctl.report.typeset import escape_csv, escape_markdown, percent, percent_up, three_down

__all__ = ["FORMATS", "percent", "percent_up", "render", "three_down"]

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
    for family in results.families:
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


COLUMNS = (
    "run", "source", "method", "dataset", "split", "model", "sigma", "trained_sigma", "noise", "seed", "certificate", "guarantee", "norm", "k",
    "alpha", "n", "n0", "mean_draws", "stopping", "images", "planned", "subset", "radius", "certified_accuracy", "low", "high", "proved_accuracy", "population_accuracy", "worst_class_accuracy",
    "acr", "clean_accuracy", "abstain_rate", "cap_share", "settings", "learned_nothing",
)  # fmt: skip
"""Columns of the CSV, and keys of a JSON row."""


def long_rows(results: Results) -> list[dict[str, Any]]:
    """One dict per row and radius, with the keys `COLUMNS`; shares in [0, 1] and at full precision, None for unknown.

    `low` and `high` are the 95 % interval over images; `proved_accuracy` is what holds of these images at all radii
    at once with probability 0.999, after the certificates that may be wrong; `population_accuracy` what holds, at each
    radius by itself and likewise, of everything that they are a random sample of.
    """
    found = []
    for row in results.every:
        common = {
            "run": row.run, "source": row.source, "method": row.method, "dataset": row.dataset, "split": row.split,
            "model": row.model, "sigma": row.sigma, "trained_sigma": row.trained_sigma, "noise": row.noise, "seed": row.seed, "certificate": row.certificate,
            "guarantee": row.guarantee, "norm": row.norm, "k": row.k, "alpha": row.alpha if row.estimated else None, "n": row.n, "n0": row.n0, "stopping": row.stopping, "mean_draws": _number(row.mean_draws),
            "images": row.images, "planned": row.planned, "subset": row.subset, "acr": _number(row.acr),
            "clean_accuracy": _number(row.clean_accuracy), "abstain_rate": _number(row.abstain_rate),
            "cap_share": _number(row.cap_share), "settings": row.label,
            "learned_nothing": row.degenerate.text if row.degenerate else None,
        }  # fmt: skip
        for cell in row.cells:
            low, high = cell.interval
            own = {
                "radius": cell.radius, "certified_accuracy": _number(cell.accuracy), "low": low, "high": high,
                "proved_accuracy": _number(row.proved(cell)), "population_accuracy": _number(row.proved_of_population(cell)),
                "worst_class_accuracy": _number(cell.worst_class),
            }  # fmt: skip
            values = {**common, **own}
            found.append({key: values[key] for key in COLUMNS})
    return found


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value


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
                     "model": line.first.model, "sigma": line.first.sigma, "seeds": len(line.rows), "missing_seeds": len(line.missing), "radius": radius,
                     "certified_accuracy": _number(spread.mean), "deviation": _number(spread.deviation)}
                )  # fmt: skip
        for method in best_sigmas(group):
            for radius, line in zip(group.radii, method.lines, strict=True):
                best.append(
                    {
                        "settings": method.label,
                        "model": method.model,
                        "radius": radius,
                        "sigma": line.first.sigma,
                        "seeds": len(line.rows),
                    }
                )
    values: dict[str, Any] = {
        "sweep": results.sweep,
        "description": results.description,
        "rows": long_rows(results),
        "lines": lines,
        "best_sigmas": best,
        "notes": [printable(note) for note in results.notes + beside(results.every, baselines)],
    }
    if results.families:
        values["families"] = [row for family in results.families for row in family_values(family)]
    if results.attacked:
        values["attacks"] = [attack_values(row) for row in results.attacked]
    if results.broken:
        values["broken"] = [one.__dict__ for one in results.broken]
    if baselines:
        values["baselines"] = [{**one.values, "rows": one.long_rows()} for one in baselines]
    return json.dumps(values, indent=1, allow_nan=False) + "\n"
