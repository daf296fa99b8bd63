"""Curves in braille: two by four dots in a cell, a band of confidence behind its curve.

Drawn here, in a page of code: plotting libraries for the terminal cost 0.2 s to load and as much for a
redraw, or pull in numpy before the first paint, and none of them draws a band.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip
from textual.widget import Widget

from rsctl.tui.widgets.styles import SERIES, tone

_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
_DASHES = ((1, 0), (3, 2), (1, 1), (5, 2), (1, 3), (2, 4))
"""Dots on and off."""


@dataclass(frozen=True)
class ChartLine:
    """A curve: `xs` ascending; `low` and `high` where it has a band; `colour` in range(SERIES)."""

    label: str
    xs: Sequence[float]
    ys: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    colour: int = 0
    dash: int = 0
    """Index of its dash pattern; without colour every curve gets its own."""


class Chart(Widget):
    """Curves over one pair of axes."""

    def __init__(self, *, empty: str = "", id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.empty = empty
        """Message shown without curves."""
        self.series: list[ChartLine] = []
        self.title = ""
        self.y_range: tuple[float, float] | None = None
        self.percent = False
        self.x_name = ""
        self._drawn: tuple[object, list[Strip]] | None = None
        self._version = 0

    def show(
        self,
        series: Sequence[ChartLine],
        *,
        title: str = "",
        x_name: str = "",
        y_range: tuple[float, float] | None = None,
        percent: bool = False,
        empty: str | None = None,
    ) -> None:
        """Draw these curves instead; nothing happens if they are the same."""
        state = (list(series), title, x_name, y_range, percent, self.empty if empty is None else empty)
        if state == (self.series, self.title, self.x_name, self.y_range, self.percent, self.empty):
            return
        self.series, self.title, self.x_name, self.y_range, self.percent, self.empty = state
        self._version += 1
        self.refresh()

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._drawn = None

    def render_line(self, y: int) -> Strip:
        size = self.size
        state = (size, self._version)
        if self._drawn is None or self._drawn[0] != state:
            self._drawn = (state, self._draw(size.width, size.height))
        lines = self._drawn[1]
        return lines[y] if y < len(lines) else Strip.blank(size.width, self.rich_style)

    def _draw(self, width: int, height: int) -> list[Strip]:
        base = self.rich_style
        axis = base + tone(self, "quiet")
        lines: list[list[Segment]] = []
        if self.title:
            lines.append([Segment(self.title[:width], axis)])
        curves = [s for s in self.series if len(s.xs)]
        rows = height - len(lines) - 2
        if not curves or rows < 3 or width < 24:
            message = self.empty if not curves else "too small to draw"
            lines.append([Segment(f"  {message}"[:width], axis)])
            return [Strip(line).adjust_cell_length(width, base) for line in lines]
        low, high = self.y_range or _range([y for s in curves for y in s.ys])
        first, last = min(s.xs[0] for s in curves), max(s.xs[-1] for s in curves)
        if last <= first:
            first, last = first - 0.5, first + 0.5
        ticks = _ticks(low, high, max(3, rows // 4))
        names = [f"{tick * 100:.0f} %" if self.percent else f"{tick:g}" for tick in ticks]
        margin = max(map(len, names)) + 1
        columns = width - margin - 1
        cells = _plot(curves, columns, rows, (first, last), (low, high), self.app.no_color)
        styles = [base + tone(self, str(i)) for i in range(SERIES)]
        band = base + tone(self, "band")
        marks = {round((high - tick) / (high - low) * (rows - 1)): name for tick, name in zip(ticks, names, strict=True)}  # fmt: skip
        for row in range(rows):
            name = marks.get(row, "")
            line = [Segment(f"{name:>{margin}}", axis), Segment("┤" if name else "│", axis)]
            for owner, together in groupby(cells[row], key=lambda cell: cell[1]):
                dots = "".join(chr(0x2800 + bits) if bits else " " for bits, _ in together)
                line.append(Segment(dots, band if owner < 0 else styles[owner % SERIES]))
            lines.append(line)
        lines += self._x_axis(first, last, columns, margin, axis)
        return [Strip(line).adjust_cell_length(width, base) for line in lines]

    def _x_axis(
        self, first: float, last: float, columns: int, margin: int, axis: Style
    ) -> list[list[Segment]]:
        ticks = _ticks(first, last, max(2, columns // 12))
        rule, text = ["─"] * columns, [" "] * (columns + margin + 1)
        # The axis title matters more than the last number: a radius means little without its norm.
        if self.x_name and columns >= 3 * len(self.x_name):
            text[-len(self.x_name) :] = self.x_name
        for tick in ticks:
            place = round((tick - first) / (last - first) * (columns - 1))
            rule[place] = "┴"
            label = f"{tick:g}"
            start = max(0, min(len(text) - len(label), place + margin + 1 - len(label) // 2))
            if all(c == " " for c in text[max(0, start - 1) : start + len(label) + 1]):
                text[start : start + len(label)] = label
        return [
            [Segment(" " * margin + "└" + "".join(rule), axis)],
            [Segment("".join(text), axis)],
        ]


def _plot(
    curves: list[ChartLine], columns: int, rows: int, xs: tuple[float, float], ys: tuple[float, float],
    no_color: bool,
) -> list[list[tuple[int, int]]]:  # fmt: skip
    """The dots of each cell and the curve that colours them (-1 for a band); the first curve is on top."""
    wide, tall = columns * 2, rows * 4
    cells = [[(0, -1)] * columns for _ in range(rows)]

    def height(value: float) -> int:
        share = (value - ys[0]) / (ys[1] - ys[0])
        return round((1 - min(1.0, max(0.0, share))) * (tall - 1))

    def dot(x: int, y: int, owner: int) -> None:
        bits, before = cells[y // 4][x // 2]
        kept = bits if before == owner else 0
        cells[y // 4][x // 2] = (kept | _DOTS[y % 4][x % 2], owner)

    places = [xs[0] + (xs[1] - xs[0]) * x / (wide - 1) for x in range(wide)]
    for series in curves:
        if len(series.low):
            for x, place in enumerate(places):
                edges = _at(series.xs, series.low, place), _at(series.xs, series.high, place)
                if edges[0] is not None and edges[1] is not None:
                    for y in range(height(edges[1]), height(edges[0]) + 1):
                        # Without colour a curve is seen only where its band is thin.
                        if not no_color or (x % 4 == 0 and y % 2 == 0):
                            dot(x, y, -1)
    for order, series in reversed(list(enumerate(curves))):
        on, off = _DASHES[(order if no_color else series.dash) % len(_DASHES)]
        previous: int | None = None
        for x, place in enumerate(places):
            value = _at(series.xs, series.ys, place)
            if value is None or not math.isfinite(value):
                previous = None
                continue
            y = height(value)
            top, bottom = (y, y) if previous is None else (min(previous, y), max(previous, y))
            if x % (on + off) < on:
                for step in range(top, bottom + 1):
                    dot(x, step, series.colour)
            previous = y
    return cells


def _at(xs: Sequence[float], ys: Sequence[float], x: float) -> float | None:
    """Linear interpolation; None outside the range."""
    if x < xs[0] or x > xs[-1]:
        return None
    high = min(max(1, bisect_right(xs, x)), len(xs) - 1)
    low = max(0, high - 1)
    if xs[high] == xs[low]:
        return ys[low]
    return ys[low] + (ys[high] - ys[low]) * (x - xs[low]) / (xs[high] - xs[low])


def _range(values: Sequence[float]) -> tuple[float, float]:
    finite = [value for value in values if math.isfinite(value)]
    low, high = min(finite, default=0.0), max(finite, default=1.0)
    if 0 < low < high / 2:
        low = 0.0
    if low == high:
        low, high = low - (abs(low) or 1) / 10, high + (abs(high) or 1) / 10
    return low, high


def _ticks(low: float, high: float, about: int) -> list[float]:
    """Round numbers inside [low, high]."""
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(k * step, 10) for k in range(first, math.floor(high / step + 1e-9) + 1)]
