"""Markers and dashes of the figures' line styles as SVG paths."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from rsctl.report.figures.line_styles import STYLES

_POLYGONS = {
    "s": (4, 45.0), "D": (4, 0.0), "^": (3, -90.0), "v": (3, 90.0), "<": (3, 180.0), ">": (3, 0.0), "p": (5, -90.0), "h": (6, -90.0),
    "8": (8, 22.5),
}  # fmt: skip
"""Corners, and the direction of the first one in degrees."""


def glyph(marker: str, x: float, y: float, size: float = 3.8) -> str:
    """The outline of one of matplotlib's markers around a point, as the `d` of a path."""
    if marker in _POLYGONS:
        corners, turn = _POLYGONS[marker]
        return _closed([_at(x, y, size, turn + 360 * i / corners) for i in range(corners)])
    if marker == "d":
        return _closed([(x, y - size), (x + 0.6 * size, y), (x, y + size), (x - 0.6 * size, y)])
    if marker == "*":
        return _closed([_at(x, y, size * (1.2 if i % 2 == 0 else 0.5), 36 * i - 90) for i in range(10)])
    if marker in "PX":
        third, turn = size / 3, 0.0 if marker == "P" else 45.0
        plus = [(-third, -size), (third, -size), (third, -third), (size, -third), (size, third), (third, third), (third, size),
                (-third, size), (-third, third), (-size, third), (-size, -third), (-third, -third)]  # fmt: skip
        return _closed([_turned(x, y, dx, dy, turn) for dx, dy in plus])
    r = 0.85 * size
    return f"M{x - r:.1f} {y:.1f}a{r:.1f} {r:.1f} 0 1 0 {2 * r:.1f} 0a{r:.1f} {r:.1f} 0 1 0 {-2 * r:.1f} 0z"


def dashes(style: Any, width: float = 2.0) -> str | None:
    """`stroke-dasharray` of one of `STYLES`, which are in units of the line's width; None for a solid line."""
    return None if style == "-" else " ".join(f"{width * part:g}" for part in style[1])


def dash_of(level: int) -> str | None:
    return dashes(STYLES[level % len(STYLES)])


def _at(x: float, y: float, radius: float, degrees: float) -> tuple[float, float]:
    return x + radius * math.cos(math.radians(degrees)), y + radius * math.sin(math.radians(degrees))


def _turned(x: float, y: float, dx: float, dy: float, degrees: float) -> tuple[float, float]:
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return x + c * dx - s * dy, y + s * dx + c * dy


def _closed(corners: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in corners) + "z"
