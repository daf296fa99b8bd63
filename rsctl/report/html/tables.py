"""Tables of a page: the cells of `rsctl export`, and under each number its guarantee."""

from __future__ import annotations

import math
from collections.abc import Sequence
from xml.etree.ElementTree import Element

from rsctl.report.html.elements import element
from rsctl.report.tables.attacks import attack_tables
from rsctl.report.tables.cells import (
    BEFORE,
    about_best,
    best_table,
    deviations,
    lines_table,
    shared,
)
from rsctl.report.tables.families import Family, families, family_table
from rsctl.report.tables.legend import MEANINGS
from rsctl.report.tables.summary import best_sigmas, caption
from rsctl.results.lines import Group, Line, groups
from rsctl.results.measurement import RHO
from rsctl.results.rounding import percent, percent_up
from rsctl.results.sweep import Results

_WORDS = ("Method", "Model", "Seed", "Attack", "Certified by")
"""Columns of text; numbers are aligned right."""


def tables(results: Results) -> list[Element]:
    """Every table of the sweep, each in a figure with its caption."""
    found = []
    merged = groups(results.every)
    for group in merged:
        found.append(_group(group, f"{caption(group)} {deviations(group)}".rstrip()))
        best = best_sigmas(group)
        if best:
            told = dict.fromkeys(range(len(best)), f"{group.first.certificate}: {group.first.guarantee}")
            found.append(_table(best_table(group, best), f"{about_best(best)}.", told=told))
    found += [_family(one) for one in families(results)]
    found += [_table(cells, text) for text, cells in attack_tables(results.attacked)]
    if any(len(line.rows) > 1 for group in merged for line in group.lines):
        apart = [_group(group, caption(group)) for group in groups(results.every, merge_seeds=False)]
        found.append(element("details", element("summary", "Every seed by itself"), *apart))
    return found


def _group(group: Group, about: str) -> Element:
    """The table of comparable lines; each accuracy with its 95 % interval and what is proved of these images."""
    first = len(BEFORE)
    under = {
        (number, first + column): _bounds(line, column)
        for number, line in enumerate(group.lines) for column in range(len(group.radii))
    }  # fmt: skip
    told = _guarantees(group)
    proved = any(line.first.wrong_claims is not None for line in group.lines)
    explained = (
        "Under each accuracy: its 95 % interval over images"
        + (", and ≥ the robust accuracy that is proved of these images" if proved else "")
        + (f", at all radii at once with probability {1 - RHO:g}" if proved else "")
        + (
            "; of several seeds the widest interval and the least of what is proved of each"
            if any(len(line.rows) > 1 for line in group.lines)
            else ""
        )
        + "."
    )
    marks = {number for number, line in enumerate(group.lines) if line.degenerate or not line.complete}
    return _table(lines_table(group), f"{about} {explained}", under, told, marks)


def _guarantees(group: Group) -> dict[int, str]:
    """The guarantee of each line of a table."""
    return {
        number: f"{line.first.certificate}: {line.first.guarantee}" for number, line in enumerate(group.lines)
    }


def _bounds(line: Line, column: int) -> list[str]:
    """The 95 % interval of a cell, and the proved accuracy of its images where something is proved."""
    cells = [row.cells[column] for row in line.rows if row.images]
    if not cells:
        return []
    low, high = min(cell.interval[0] for cell in cells), max(cell.interval[1] for cell in cells)
    least = [row.proved(row.cells[column]) for row in line.rows if row.images]
    told = [f"{percent(low)}–{percent_up(high)}"]
    return told if any(map(math.isnan, least)) else [*told, f"≥ {percent(min(least))}"]


def _family(family: Family) -> Element:
    told = {number: f"{one.row.certificate}: {one.row.guarantee}" for number, one in enumerate(family.lines)}
    return _table(family_table(family), family.caption, told=told)


def _table(
    cells: Sequence[Sequence[str]],
    about: str,
    under: dict[tuple[int, int], list[str]] | None = None,
    told: dict[int, str] | None = None,
    marked: set[int] | None = None,
) -> Element:
    """A table whose first line is the header; `under` are small lines in a cell, `told` the guarantee of a line."""
    header, *lines = cells
    same = shared([list(line) for line in cells], ("Clean", "At cap"))
    common = "; ".join(f"{header[i]} {lines[0][i]}" for i in same)
    kept = [i for i in range(len(header)) if i not in same]
    head = element("tr", *(_head(header[i]) for i in kept))
    body = [
        element(
            "tr",
            *(_cell(header[i], line[i], (under or {}).get((number, i), ()), first=i == kept[0]) for i in kept),
            class_="doubtful" if number in (marked or ()) else None,
            title=(told or {}).get(number),
        )
        for number, line in enumerate(lines)
    ]  # fmt: skip
    table = element("table", element("thead", head), element("tbody", *body))
    said = f" In every line: {common}." if common else ""
    parts = [
        element("p", f"Guarantee. {one}.", class_="guarantee") for one in dict.fromkeys((told or {}).values())
    ]
    return element(
        "figure",
        element("div", table, class_="wide", role="region", tabindex="0", aria_label=about.split(". ")[0]),
        element("figcaption", *parts, element("p", f"{about}{said}")),
        class_="table",
    )


def _head(text: str) -> Element:
    return element(
        "th", text, scope="col", class_=None if text in _WORDS else "number", title=MEANINGS.get(text)
    )


def _cell(head: str, text: str, under: Sequence[str], *, first: bool) -> Element:
    small = [element("small", one, class_="proved" if one.startswith("≥") else "interval") for one in under]
    return element(
        "th" if first else "td", element("span", text), *small,
        scope="row" if first else None, class_=None if head in _WORDS else "number",
    )  # fmt: skip
