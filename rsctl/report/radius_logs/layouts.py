"""Columns of per-image logs: meanings of the many headings in use."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

import tomli

NAMES: dict[str, Any] = tomli.loads(
    files("rsctl.report.radius_logs").joinpath("names.toml").read_text(encoding="utf-8")
)
_TOP_K = re.compile(r"(?:predict(?:ion)?_)?top_?k?\d*(?:_predict(?:ion)?s?)?|predict(?:ion)?s")
_LIST = re.compile(r"[\[(]?\s*-?\d+(?:(?:\s*[,;]\s*|\s+)-?\d+)*\s*(?:[,;]\s*)?[\])]?")
_PARTS = re.compile(r"[,;\s]+")
_OTHER_NOISE = re.compile(r"iid|general(?:is|iz)ed|laplace|uniform|exponential")


@dataclass
class Layout:
    """Positions of the columns in a line."""

    delimiter: str
    heads: list[str]
    """Headings of the first line, without surrounding spaces."""
    place: dict[str, int] = field(default_factory=dict)
    """Columns of idx, label, predict, radius, correct, time; `hits` and `draws` of counts; `selection` of a list of counts."""
    norms: dict[str, int] = field(default_factory=dict)
    """Columns of radii in further norms."""
    histogram: list[int] = field(default_factory=list)
    """Columns of the counts of each class, in the order of the classes; or the one column that lists them."""
    top: list[int] = field(default_factory=list)
    """Columns of the k predicted classes, or the one that lists them."""
    left_out: list[str] = field(default_factory=list)
    other_noise: str = ""
    """A heading that names noise other than Gaussian."""

    @property
    def missing(self) -> list[str]:
        """Required columns that are missing."""
        needed = ["idx", "label"]
        if not self.histogram:
            needed.append("predict")
            if "hits" not in self.place and not self.norms:
                needed.append("radius")
        return [name for name in needed if name not in self.place and not (name == "predict" and self.top)]


def split_line(line: str, delimiter: str) -> list[str]:
    """The cells of a line; a list in quotes is one cell of a comma-separated file, and spaces part however many there are."""
    if delimiter == "," and '"' in line:
        with suppress(csv.Error):
            return next(csv.reader([line], skipinitialspace=True), [""])
    return line.split(None if delimiter == " " else delimiter)


def layout_of(header: str, sample: Sequence[str]) -> Layout:
    """The layout by the header, and by the first few rows where a heading is ambiguous."""
    delimiter = next((one for one in ("\t", ",") if one in header), " ")
    heads = [head.strip() for head in split_line(header, delimiter)]
    rows = [row for line in sample if len(row := split_line(line, delimiter)) == len(heads)]
    # An abstention is a single number where others are lists.
    cells = [next((row[i] for row in rows if is_list(row[i])), "") for i in range(len(heads))]
    found = Layout(delimiter, heads)
    names = [re.sub(r"[\s-]+", "_", head.lower()) for head in heads]
    numbered = _numbered(names, r"(?:counts?|class|c|n|votes?|hist(?:ogram)?)?_?", 0)
    found.histogram, found.top = numbered, _numbered(names, r"(?:top|pred|predict)_?", 1)
    for i, (name, cell) in enumerate(zip(names, cells, strict=True)):
        if i not in (*found.histogram, *found.top):
            _place(found, i, name, bool(cell))
    if "idx" not in found.place and heads[:1] == [""]:
        found.place["idx"] = 0  # as pandas writes the index of a table
    return found


def _place(found: Layout, i: int, name: str, lists: bool) -> None:
    norm = re.fullmatch(r"(l1|l2|linf)_?radius|radius_?(l1|l2|linf)", name)
    known = next((kind for kind, called in NAMES["columns"].items() if name in called), "")
    if name in NAMES["selections"] and lists:
        found.place["selection"] = i
    elif name in NAMES["histograms"] and lists and not found.histogram:
        found.histogram = [i]
    elif lists and (known == "predict" or _TOP_K.fullmatch(name)) and not found.top:
        found.top = [i]
    elif known and known not in found.place:
        found.place[known] = i
    elif norm and (norm[1] or norm[2]) not in found.norms:
        found.norms[norm[1] or norm[2]] = i
    elif name:
        found.left_out.append(found.heads[i])
        found.other_noise = found.other_noise or (found.heads[i] if _OTHER_NOISE.search(name) else "")


def _numbered(names: Sequence[str], stem: str, first: int) -> list[int]:
    """Columns called `stem0`, `stem1`, … in this order; none unless there are two at least and no number is missing."""
    places: dict[str, dict[int, int]] = {}
    for i, name in enumerate(names):
        match = re.fullmatch(rf"({stem})(\d{{1,9}})", name)
        if match:
            places.setdefault(match[1], {})[int(match[2])] = i
    for numbers in places.values():
        if len(numbers) > 1 and sorted(numbers) == list(range(first, first + len(numbers))):
            return [numbers[number] for number in sorted(numbers)]
    return []


def is_list(cell: str) -> bool:
    """Return whether a cell holds several whole numbers, as `[3, 5]`, `3,5` or `3 5`."""
    bare = cell.strip().strip('"')
    return _LIST.fullmatch(bare) is not None and len(_PARTS.findall(bare.strip("[]() "))) > 0


def numbers_of(cell: str) -> list[int]:
    """The whole numbers of such a list; raises ValueError for anything else, and for numbers of unusual size."""
    parts = [part for part in _PARTS.split(cell.strip().strip('"').strip("[]()")) if part]
    found = [int(part[:20]) for part in parts]
    if any(len(part) > 20 or abs(number) >= 2**31 for part, number in zip(parts, found, strict=True)):
        raise ValueError(f"a number of '{cell.strip()[:40]}' is too large")
    return found
