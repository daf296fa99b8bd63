"""Texts about curves, and their lines in a chart, the same in every mode."""

from __future__ import annotations

from collections.abc import Sequence

from rsctl.text import counted
from rsctl.tui.views import Curve
from rsctl.tui.widgets.chart import ChartLine
from rsctl.tui.widgets.styles import SERIES

_ATTACK_DASH = 1
"""Index of the chart's dash for accuracy under attack."""


def chart_line(curve: Curve, place: int, band: bool) -> ChartLine:
    """A curve for the chart, in the colour of its place."""
    return ChartLine(
        curve.title, curve.radii, curve.accuracy, *((curve.low, curve.high) if band else ((), ())),
        colour=place % SERIES, dash=_ATTACK_DASH * curve.attacked,
    )  # fmt: skip


def norm_symbol(norm: str) -> str:
    return {"l2": "ℓ₂", "linf": "ℓ∞", "l1": "ℓ₁"}.get(norm, norm)


def images(curve: Curve) -> str:
    """The number of images behind the numbers, of those planned."""
    return f"{curve.images:,} of {counted(curve.planned, 'image')}"


def settings(curve: Curve) -> str:
    """The draws and the failure probability; empty for a verifier, and maybe for a log."""
    told = [f"n = {curve.n:,}" if curve.n else "", f"α = {curve.alpha:g}" if curve.alpha else ""]
    return ", ".join(filter(None, told))


def heading(drawn: Sequence[Curve]) -> str:
    """The title of a chart of these curves."""
    attacked = [curve.attacked for curve in drawn]
    if not any(attacked):
        return "Certified accuracy"
    return "Accuracy under attack" if all(attacked) else "Certified accuracy; dashed: under attack"
