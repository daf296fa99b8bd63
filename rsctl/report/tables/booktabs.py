"""One table as a LaTeX float: aligned, ruled, and as wide as a column or the page allows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from rsctl.report.typeset import escape_latex
from rsctl.results.rounding import MISSING

COLUMN, ARTICLE, PAGE = 229.0, 345.0, 393.0
"""Points: a column of article's twocolumn, which is the narrowest of ICML, CVPR, IEEE and AAAI; article's page; that of
NeurIPS, which is narrower than two columns, less what an estimate may be wrong by."""
MOST_LINES = 40
"""Lines of one table: more don't fit a page."""
_NAMES = ("Method", "Settings", "Model", "Seed", "Attack", "Certified by")
_LEAST_GAP, _USUAL_GAP = 5.0, 12.0
"""Points between two columns: where it is tight, and LaTeX's own."""
# \footnotesize is 8 pt in a document of 10 pt: digits of Computer Modern are 0.53 em wide, those of Times narrower.
_WIDTHS = {
    **dict.fromkeys("ijlt.,:;'|![]fI", 2.4), **dict.fromkeys("()/-r ", 3.4), **dict.fromkeys("mwMW%", 7.4),
    **dict.fromkeys("ABCDEFGHJKLNOPQRSTUVXYZ±=_σ", 6.4),
}  # fmt: skip
_BOLDER = 2.3
"""Ratio of a number's width in bold to its usual width."""
_MARKS = re.compile(r"\\(?:ell|infty)|[\\${}]")
_NUMBER = re.compile(r"([0-9.]+)(?: ± ([0-9.]+)| \[([0-9.]+), ([0-9.]+)\])?(?: \(([0-9.]+)\))?")


class Span(NamedTuple):
    """Heading above several columns, given by their heads: the first of these texts (LaTeX) that fits."""

    heads: Sequence[str]
    texts: Sequence[str]


@dataclass(frozen=True)
class Tabular:
    """Cells as text before any escaping, the header first, and how they are set."""

    cells: list[list[str]]
    caption: str
    """LaTeX."""
    label: str
    legend: str = ""
    """The sentence of the caption that explains columns."""
    bold: set[tuple[int, int]] = field(default_factory=set)
    """Line and column of cells whose number is in bold."""
    rules: set[int] = field(default_factory=set)
    """Lines with a rule above."""
    spans: Sequence[Span] = ()

    @property
    def heads(self) -> list[str]:
        return self.cells[0]

    def only(self, columns: Sequence[int]) -> Tabular:
        """The same with these columns alone, in this order."""
        return replace(
            self,
            cells=[[line[j] for j in columns] for line in self.cells],
            bold={(i, columns.index(j)) for i, j in self.bold if j in columns},
        )

    def without(self, heads: Sequence[str]) -> Tabular:
        """The same without these columns."""
        return self.only([j for j, head in enumerate(self.heads) if head not in heads])

    def by_sigma(self) -> Tabular:
        """Puts σ first, its lines grouped, a rule between two levels and each level printed once, as papers print several methods
        at several levels; unchanged where every σ has one line.
        """
        if "σ" not in self.heads:
            return self
        place = self.heads.index("σ")
        levels = {line[place] for line in self.cells[1:]}
        if not 1 < len(levels) < len(self.cells) - 1:
            return self
        order = [0, *sorted(range(1, len(self.cells)), key=lambda i: _first_level(self.cells[i][place]))]
        cells = [list(self.cells[i]) for i in order]
        rules = {i for i in range(2, len(cells)) if cells[i][place] != cells[i - 1][place]}
        for i in range(2, len(cells)):
            if i not in rules and (i - 1) % MOST_LINES:
                cells[i][place] = ""
        sorted_ = replace(self, cells=cells, bold={(order.index(i), j) for i, j in self.bold}, rules=rules)
        return sorted_.only([place, *(j for j in range(len(self.heads)) if j != place)])

    def width(self, gap: float) -> float:
        """Approximate width in points, with this gap between two columns."""
        columns = [
            max(_width(line[j]) + _BOLDER * ((i, j) in self.bold) for i, line in enumerate(self.cells))
            for j in range(len(self.heads))
        ]
        return sum(columns) + gap * (len(columns) - 1)

    @property
    def fits_column(self) -> bool:
        return self.width(_LEAST_GAP) <= COLUMN


def _first_level(sigma: str) -> float:
    """The noise level by which a line is sorted: of a cascade that of its first level."""
    return float(sigma.partition(" ")[0])


def floats(table: Tabular) -> list[str]:
    """Table environments: over two columns (`table*`) where one is too narrow, in parts where the page or its height is."""
    parts = [part for wide in _by_width(table) for part in _by_height(wide)]
    numbers = [f" Part {number} of {len(parts)}." for number in range(1, len(parts) + 1)]
    if len(parts) == 1:
        numbers = [""]
    return [
        _float(part, text, "" if i else table.label)
        for i, (part, text) in enumerate(zip(parts, numbers, strict=True))
    ]


def _by_width(table: Tabular) -> list[Tabular]:
    """Parts with as many columns as fit the page, each with those that name its lines."""
    names = [j for j, head in enumerate(table.heads) if head in (*_NAMES, "σ")]
    rest = [j for j in range(len(table.heads)) if j not in names]
    parts = [table]
    for count in range(1, len(rest) + 1):
        each = -(-len(rest) // count)
        parts = [table.only([*names, *rest[i : i + each]]) for i in range(0, len(rest), each)]
        if max(part.width(_LEAST_GAP) for part in parts) <= PAGE:
            break
    return parts


def _by_height(table: Tabular) -> list[Tabular]:
    starts = range(1, max(len(table.cells), 2), MOST_LINES)
    return [
        replace(
            table,
            cells=[table.heads, *table.cells[start : start + MOST_LINES]],
            bold={(i - start + 1, j) for i, j in table.bold if start <= i < start + MOST_LINES},
            rules={i - start + 1 for i in table.rules if start < i < start + MOST_LINES},
        )
        for start in starts
    ]


def _float(table: Tabular, part: str, label: str) -> str:
    environment = "table" if table.fits_column else "table*"
    room = next((room for room in (COLUMN, ARTICLE) if table.width(_LEAST_GAP) <= room), PAGE)
    gaps = max(len(table.heads) - 1, 1)
    gap = min(_USUAL_GAP, max(_LEAST_GAP, (room - table.width(0)) / gaps))
    matches = [_NUMBER.fullmatch(cell) for line in table.cells[1:] for cell in line]
    sigmas = max((_places(match[5]) for match in matches if match and match[5]), default=0)
    columns = [_column(list(column), sigmas) for column in zip(*table.cells, strict=True)]
    numbers = ["l" if head in (*_NAMES, "σ") else "r" for head in table.heads]
    for i, j in table.bold:
        columns[j][i] = _bold(columns[j][i])
    lines = [" & ".join(line) + r" \\" for line in zip(*columns, strict=True)]
    # Index and exponent need room between the lines.
    stretch = ["\\renewcommand{\\arraystretch}{1.5}"] if any("}^{" in line for line in lines) else []
    body = [f"\\midrule\n{line}" if i in table.rules else line for i, line in enumerate(lines[1:], 1)]
    return "\n".join(
        [
            f"\\begin{{{environment}}}[tbp]",
            "\\centering",
            f"\\caption{{{table.caption}{part}}}",
            *([f"\\label{{{label}}}"] if label else []),
            "\\footnotesize",
            f"\\setlength{{\\tabcolsep}}{{{int(5 * gap) / 10:g}pt}}",
            # article has no room between a caption and what is below it.
            "\\setlength{\\abovetopsep}{4pt}",
            *stretch,
            f"\\begin{{tabular}}{{@{{}}{''.join(numbers)}@{{}}}}",
            "\\toprule",
            *_above(table, gap),
            lines[0],
            "\\midrule",
            *body,
            "\\bottomrule",
            "\\end{tabular}",
            f"\\end{{{environment}}}",
        ]
    )


def _above(table: Tabular, gap: float) -> list[str]:
    """The line above the heads, where what spans several of them is no wider than they are."""
    cells, rules, j = [], [], 0
    while j < len(table.heads):
        span = next((one for one in table.spans if table.heads[j] in one.heads), None)
        last = j + 1
        while span and last < len(table.heads) and table.heads[last] in span.heads:
            last += 1
        room = table.only(range(j, last)).width(gap)
        text = next((text for text in span.texts if _width(_MARKS.sub("", text)) <= room), "") if span else ""
        cells += [f"\\multicolumn{{{last - j}}}{{c}}{{{text}}}"] if text else [""] * (last - j)
        rules += [f"\\cmidrule(lr){{{j + 1}-{last}}}"] if text else []
        j = last
    return [" & ".join(cells) + r" \\", "".join(rules)] if rules else []


def _column(cells: list[str], sigmas: int) -> list[str]:
    """One column's cells as LaTeX, the header first: numbers are aligned at their points.

    What follows a number (a deviation, an interval, a σ, which gets so many decimals) is as wide in every line.
    """
    matches = [_NUMBER.fullmatch(cell) for cell in cells[1:]]
    level = cells[0] == "σ"
    places = max((_places(match[1]) for match in matches if match), default=0)
    tails = [[match[k] for match in matches if match and match[k]] for k in (2, 3, 4, 5)]
    longest = [max((part.partition(".")[0] for part in tail), key=len, default="") for tail in tails]
    widest = _tail([tail[0] if tail else None for tail in tails], longest, sigmas)
    head = escape_latex(cells[0])
    found = [f"\\multicolumn{{1}}{{c}}{{{head}}}" if widest else head]
    for cell, match in zip(cells[1:], matches, strict=True):
        if not match and cell != MISSING:
            found.append(escape_latex(cell))
            continue
        tail = _tail([match[k] for k in (2, 3, 4, 5)], longest, sigmas) if match else ""
        number = escape_latex(cell) if not match else f"{float(match[1]):.{places}f}" if level else match[1]
        # A cell without a tail leaves the space of one.
        found.append(number + (tail if tail or not widest else f"\\phantom{{{widest}}}"))
    return found


def _tail(parts: Sequence[str | None], longest: Sequence[str], sigmas: int) -> str:
    deviation, low, high, sigma = parts
    text = ""
    if deviation:
        text = f"$_{{\\pm{_padding(deviation, longest[0])}{deviation}}}$"
    elif low and high:
        text = f"$_{{{low}{_padding(low, longest[1])}}}^{{{high}{_padding(high, longest[2])}}}$"
    return text + (f" ({float(sigma):.{sigmas}f})" if sigma else "")


def _padding(number: str, longest: str) -> str:
    missing = len(longest) - len(number.partition(".")[0])
    return f"\\phantom{{{'0' * missing}}}" if missing > 0 else ""


def _places(number: str) -> int:
    return len(number.partition(".")[2])


def _bold(cell: str) -> str:
    """The number a cell begins with."""
    return re.sub(r"^[0-9.]+", lambda match: f"\\textbf{{{match[0]}}}", cell)


def _width(cell: str) -> float:
    """Width of a cell's text in points: a deviation and an interval are set smaller."""
    match = _NUMBER.fullmatch(cell)
    if not match:
        return sum(_WIDTHS.get(c, 4.4) for c in cell)
    number, deviation, low, high, sigma = match.groups()
    small = max(len(low or ""), len(high or ""), len(deviation) + 1.7 if deviation else 0)
    return 4.3 * len(number) - 1.9 * ("." in number) + 3.4 * small + (4.1 * len(sigma) + 8 if sigma else 0)
