"""Compares the tables of a package with those that its counts give, cell by cell."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from rsctl.package.consistency import Discrepancy
from rsctl.package.format import TABLES
from rsctl.plain import plain

_RELATIVE = 1e-9
"""Largest relative difference of two numbers that count as equal: another version of a library may differ in the last digits."""
_KEYS = ("run", "certificate", "alpha", "radius")
"""Columns that name a row of the CSV and the JSON table."""


class Cells:
    """The findings of a comparison, and the number of cells compared."""

    def __init__(self, *, same_version: bool) -> None:
        self.same_version = same_version
        """Texts are compared, too, where this version of rsctl made the tables."""
        self.compared = 0
        self.found: list[Discrepancy] = []

    def compare(self, stated: Mapping[str, bytes], derived: Mapping[str, bytes]) -> None:
        """Compare every table with the one that was recomputed."""
        for form, name in TABLES.items():
            if name not in stated:
                self.found.append(Discrepancy(name, "isn't in the package."))
                continue
            try:
                text = stated[name].decode()
                {"md": self._markdown, "csv": self._csv, "json": self._json}[form](
                    name, text, derived[name].decode()
                )
            except (ValueError, KeyError, TypeError, RecursionError, csv.Error) as error:
                self.found.append(Discrepancy(name, f"can't be read as a table: {plain(str(error), 200)}."))

    def _differs(self, where: str, place: str, stated: Any, derived: Any) -> None:
        self.compared += 1
        if not equal(stated, derived):
            self.found.append(
                Discrepancy(
                    where, f"{plain(place, 300)}: is {_shown(stated)}, but the counts give {_shown(derived)}."
                )
            )

    def _csv(self, name: str, stated: str, derived: str) -> None:
        first, second = (list(csv.DictReader(io.StringIO(text), strict=True)) for text in (stated, derived))
        self._rows(name, first, second)

    def _json(self, name: str, stated: str, derived: str) -> None:
        first, second = json.loads(stated), json.loads(derived)
        self._rows(name, first.pop("rows"), second.pop("rows"))
        notes = first.pop("notes", []), second.pop("notes", [])
        if self.same_version:
            self._values(name, "notes", *notes)
        self._values(name, "", first, second)

    def _rows(self, name: str, stated: list[Any], derived: list[Any]) -> None:
        if len(stated) != len(derived):
            self.found.append(
                Discrepancy(name, f"has {len(stated)} rows, but the counts give {len(derived)}.")
            )
        for one, other in zip(stated, derived, strict=False):
            place = f"{other.get('run')}, {other.get('certificate')}, radius {other.get('radius')}"
            for column in other:
                if column in one:
                    self._differs(name, f"{place}, {column}", one[column], other[column])
                elif self.same_version:
                    self.found.append(Discrepancy(name, f"{place}: has no column '{column}'."))

    def _values(self, name: str, place: str, stated: Any, derived: Any) -> None:
        """Compare JSON values."""
        if isinstance(derived, dict) and isinstance(stated, dict):
            for key in (
                derived.keys() & stated.keys() if not self.same_version else sorted({*derived, *stated})
            ):
                self._values(name, f"{place}.{key}" if place else str(key), stated.get(key), derived.get(key))
        elif isinstance(derived, list) and isinstance(stated, list) and len(derived) == len(stated):
            for number, pair in enumerate(zip(stated, derived, strict=True)):
                self._values(name, f"{place}[{number}]", *pair)
        else:
            self._differs(name, place, stated, derived)

    def _markdown(self, name: str, stated: str, derived: str) -> None:
        first, second = stated.split("\n"), derived.split("\n")
        tables = list(_tables(first)), list(_tables(second))
        if len(tables[0]) != len(tables[1]):
            self.found.append(
                Discrepancy(name, f"has {len(tables[0])} tables, but the counts give {len(tables[1])}.")
            )
        for one, other in zip(*tables, strict=False):
            self._table(name, one, other)
        if self.same_version:
            texts = [[line for line in lines if not line.startswith("|")] for lines in (first, second)]
            if len(texts[0]) != len(texts[1]):
                self.found.append(
                    Discrepancy(
                        name, f"has {len(texts[0])} lines of text, but the counts give {len(texts[1])}."
                    )
                )
            for number, pair in enumerate(zip(*texts, strict=False)):
                self._differs(name, f"line {number + 1} of its text", *pair)

    def _table(self, name: str, stated: list[list[str]], derived: list[list[str]]) -> None:
        if len(stated) != len(derived):
            self.found.append(
                Discrepancy(
                    name, f"a table has {len(stated) - 2} rows, but the counts give {len(derived) - 2}."
                )
            )
        head = derived[0]
        if stated[0] != head and self.same_version:
            self.found.append(
                Discrepancy(
                    name,
                    f"a table has the columns {', '.join(stated[0])}, but the counts give {', '.join(head)}.",
                )
            )
            return
        for one, other in zip(stated[2:], derived[2:], strict=False):
            row = dict(zip(stated[0], one, strict=False))
            for number, (column, value) in enumerate(zip(head, other, strict=False)):
                if column in row:
                    self._differs(
                        name,
                        f"row '{' | '.join(other[:2])}', column '{column or number}'",
                        row[column],
                        value,
                    )


def _tables(lines: list[str]) -> Iterator[list[list[str]]]:
    """The tables of a Markdown text as lists of rows; the first is the head, the second the rule."""
    rows: list[list[str]] = []
    for line in [*lines, ""]:
        if line.startswith("|"):
            rows.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
        elif rows:
            yield rows
            rows = []


def equal(stated: Any, derived: Any) -> bool:
    """Return whether two cells are equal, numbers up to the last digits of a double."""
    if stated == derived and isinstance(stated, bool) == isinstance(derived, bool):
        return True
    a, b = _number(stated), _number(derived)
    return a is not None and b is not None and math.isclose(a, b, rel_tol=_RELATIVE)


def _number(value: Any) -> float | None:
    """The number of a JSON value, or of a cell with at least ten digits: rounded ones must agree as they are."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]+\.[0-9]{8,}(e-?[0-9]+)?", value):
        return float(value)
    return None


def _shown(value: Any) -> str:
    return "empty" if value in ("", None) else plain(str(value), 200)
