"""Charts as SVG with a legend of buttons; the page's script shows values under the pointer and hides lines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from xml.etree.ElementTree import Element

from rsctl.report.figures.line_styles import COLOURS, MARKERS
from rsctl.report.html.elements import element
from rsctl.report.html.glyphs import glyph

WIDTH, HEIGHT = 640, 360
LEFT, RIGHT, TOP, BOTTOM = 48, 14, 12, 44


@dataclass
class DrawnLine:
    """One line: y may have a band; all lists have equal lengths."""

    label: str
    colour: str
    """One of `COLOURS`."""
    marker: str
    dash: str | None
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    shown: Sequence[str] = ()
    """Text of each y, for the readout."""

    @property
    def after(self) -> str:
        """Text beyond the last point: a line that has fallen to 0 stays there, others are unknown."""
        return self.shown[-1] if self.shown and self.y[-1] == 0 else "–"

    @property
    def colour_class(self) -> str:
        return f"c{COLOURS.index(self.colour)}"


@dataclass
class ChartView:
    """A chart: axes from 0 (or `y_least`) to the largest values."""

    key: str
    title: str
    x_name: str
    y_name: str
    lines: list[DrawnLine]
    y_most: float | None = None
    y_least: float = 0.0
    percent: bool = False
    notes: Sequence[str] = field(default_factory=list)

    @property
    def x_most(self) -> float:
        return max((max(line.x, default=0.0) for line in self.lines), default=0.0) or 1.0

    @property
    def y_range(self) -> tuple[float, float]:
        most = self.y_most
        if most is None:
            most = max((max(line.y, default=0.0) for line in self.lines), default=0.0)
        least = min(self.y_least, min((min(line.y, default=0.0) for line in self.lines), default=0.0))
        return least, most if most > least else least + 1.0


def chart(view: ChartView) -> Element:
    """The chart as a figure with its title, its legend and its notes."""
    legend = element(
        "div",
        *(_entry(line, number) for number, line in enumerate(view.lines)),
        class_="legend", role="group", aria_label=f"Lines of: {view.title}",
    )  # fmt: skip
    return element(
        "figure",
        element("figcaption", element("h3", view.title, id=f"{view.key}-title")),
        element("p", view.y_name, class_="axis-y"),
        _svg(view),
        element("p", f"{view.x_name}: move over the chart, or focus it and press ← →", class_="readout", aria_live="polite"),
        legend,
        *(element("p", note, class_="note") for note in view.notes),
        class_="chart", id=view.key,
    )  # fmt: skip


def chart_values(view: ChartView) -> dict[str, Any]:
    """The values that the readout of a chart shows."""
    return {
        "id": view.key, "left": LEFT, "width": WIDTH - LEFT - RIGHT, "most": view.x_most, "name": view.x_name,
        "lines": [
            {"x": [float(f"{x:.4g}") for x in line.x], "shown": list(line.shown), "after": line.after} for line in view.lines
        ],
    }  # fmt: skip


def _entry(line: DrawnLine, number: int) -> Element:
    swatch = element(
        "svg",
        element("path", d="M1 7L35 7", class_="line", stroke_dasharray=line.dash),
        element("path", d=glyph(line.marker, 18, 7), class_="marker"),
        viewBox="0 0 36 14", class_=f"swatch {line.colour_class}", aria_hidden="true",
    )  # fmt: skip
    return element(
        "button", swatch, element("span", line.label, class_="name"), element("span", class_="value"),
        type="button", aria_pressed="true", data_line=number,
    )  # fmt: skip


def _svg(view: ChartView) -> Element:
    least, most = view.y_range

    def to_x(value: float) -> float:
        return LEFT + value / view.x_most * (WIDTH - LEFT - RIGHT)

    def to_y(value: float) -> float:
        return TOP + (1 - (value - least) / (most - least)) * (HEIGHT - TOP - BOTTOM)

    grid = [*_rows(view, to_y), *_columns(view, to_x)]
    lines = [_line(line, number, to_x, to_y) for number, line in enumerate(view.lines)]
    cursor = element("line", class_="cursor", x1=LEFT, x2=LEFT, y1=TOP, y2=HEIGHT - BOTTOM, visibility="hidden")  # fmt: skip
    name = element("text", view.x_name, x=WIDTH - RIGHT, y=HEIGHT - 6, class_="axis-name", text_anchor="end")
    told = (
        f"{view.title}. {view.y_name} by {view.x_name}, {len(view.lines)} lines. Arrow keys read the values."
    )
    return element(
        "svg", *grid, *lines, cursor, name, viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", aria_label=told, tabindex="0", class_="plot",
    )  # fmt: skip


def _rows(view: ChartView, to_y: Any) -> list[Element]:
    found = []
    for value in ticks(*view.y_range):
        y = f"{to_y(value):.1f}"
        text = f"{100 * value:.0f}" if view.percent else f"{value:g}"
        found += [
            element("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, class_="axis" if not value else "grid"),
            element("text", text, x=LEFT - 7, y=f"{to_y(value) + 4:.1f}", text_anchor="end"),
        ]
    return found


def _columns(view: ChartView, to_x: Any) -> list[Element]:
    found = []
    for value in ticks(0.0, view.x_most):
        x = f"{to_x(value):.1f}"
        found += [
            element("line", x1=x, x2=x, y1=TOP, y2=HEIGHT - BOTTOM, class_="axis" if not value else "grid"),
            element("text", f"{value:g}", x=x, y=HEIGHT - BOTTOM + 17, text_anchor="middle"),
        ]
    return found


def _line(line: DrawnLine, number: int, to_x: Any, to_y: Any) -> Element:
    points = [(to_x(x), to_y(y)) for x, y in zip(line.x, line.y, strict=True)]
    parts = []
    if len(line.low):
        above = [(to_x(x), to_y(y)) for x, y in zip(line.x, line.high, strict=True)]
        below = [(to_x(x), to_y(y)) for x, y in zip(line.x, line.low, strict=True)]
        outline = "L".join(_points(_simplified(above)) + _points(_simplified(below))[::-1])
        parts.append(element("path", d=f"M{outline}z", class_="band"))
    if points:
        parts.append(
            element(
                "path",
                d="M" + "L".join(_points(_simplified(points))),
                class_="line",
                stroke_dasharray=line.dash,
            )
        )
    step = max(1, len(points) // 7)
    first = (step // 2 + 3 * MARKERS.index(line.marker)) % step if len(points) > 1 else 0
    marks = "".join(glyph(line.marker, x, y) for x, y in points[first::step])
    return element(
        "g", *parts, element("path", d=marks, class_="marker"), class_=line.colour_class, data_line=number
    )


def _points(points: Sequence[tuple[float, float]]) -> list[str]:
    return [f"{x:.1f} {y:.1f}" for x, y in points]


def _simplified(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points without those in the middle of a level stretch."""
    inner = [
        here for before, here, after in zip(points, points[1:], points[2:], strict=False)
        if not abs(before[1] - here[1]) < 0.05 > abs(after[1] - here[1])
    ]  # fmt: skip
    return [*points[:1], *inner, *(points[-1:] if len(points) > 1 else [])]


def ticks(least: float, most: float, number: int = 5) -> list[float]:
    """About `number` round values from `least` to `most`."""
    if not math.isfinite(most - least) or most <= least:
        return [least]
    raw = (most - least) / number
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * 0.999)
    first, last = math.ceil(least / step - 1e-9), math.floor(most / step + 1e-9)
    return [float(f"{i * step:.10g}") for i in range(first, last + 1)]
