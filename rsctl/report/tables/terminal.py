"""Markdown for a terminal of some width: prose is wrapped, and a table that is too wide is split into several."""

from __future__ import annotations

import re
import textwrap
from itertools import groupby, pairwise

_NUMBER = re.compile(r"\d[\d./]*")


def fitted(text: str, width: int) -> str:
    """The same text with no line longer than `width` characters, as far as the columns of its tables allow.

    Every part of a table that is cut begins with the columns that name its lines: those before the first one whose
    head is a number, a radius.
    """
    lines: list[str] = []
    for kind, block in groupby(text.splitlines(), key=_kind):
        if kind == "table":
            lines += _parts(list(block), width)
        elif kind == "prose":
            for line in block:
                indent = "  " if line.startswith("- ") else ""
                lines += textwrap.wrap(line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False) or [""]  # fmt: skip
        else:
            lines += block
    return "\n".join(lines) + "\n"


def _kind(line: str) -> str:
    return "table" if line.startswith("|") else "head" if line.startswith("#") else "prose"


def _parts(table: list[str], width: int) -> list[str]:
    """A pipe table padded to columns, cut into parts that fit."""
    if len(table) < 2 or len(table[0]) <= width:
        return table
    # Columns by the line of dashes; a cell is cut out with the bar before it.
    edges = [place for place, sign in enumerate(table[1]) if sign == "|"]
    columns = [slice(first, second) for first, second in pairwise(edges)]
    heads = [table[0][column].strip("| ") for column in columns]
    numbers = [place for place, head in enumerate(heads) if _NUMBER.fullmatch(head)]
    names = numbers[0] if numbers and numbers[0] else 1
    if edges[names] > width // 2:
        names = 1
    lines: list[str] = []
    rest = columns[names:]
    while rest:
        taken = 1
        while taken < len(rest) and edges[names] + rest[taken].stop - rest[0].start < width:
            taken += 1
        part = [*columns[:names], *rest[:taken]]
        rest = rest[taken:]
        lines += ([""] if lines else []) + ["".join(line[column] for column in part) + "|" for line in table]
    return lines
