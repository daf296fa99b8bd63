"""Certified accuracy against radius, with its meaning below."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.cells import cell_len
from rich.text import Text
from textual.app import ComposeResult

from rsctl.text import counted
from rsctl.tui.sweeps.panes.curve_pane import CurvePane
from rsctl.tui.views import Curve
from rsctl.tui.widgets.chart import Chart, ChartLine
from rsctl.tui.widgets.styles import SERIES, TextBlock

ATTACK_DASH = 1
"""Index of the chart's dash for accuracy under attack."""
ROWS = 8
"""Lines of a panel reserved for the chart: a title, five rows and an axis."""


class CertifiedPane(CurvePane):
    """The curve of a run with its band, or those of a sweep's first runs."""

    READING = "Reading the counts …"

    def __init__(self, id: str) -> None:  # noqa: A002
        super().__init__(id)
        self._shown: tuple[Sequence[Curve], int] | None = None

    def on_resize(self) -> None:
        """Redraw: the number of curves named below depends on the height."""
        if self._shown is not None:
            self.show(*self._shown)

    def _clear(self) -> None:
        self._shown = None
        super()._clear()

    def compose(self) -> ComposeResult:
        yield Chart(empty="")
        yield TextBlock("", classes="facts", markup=False)

    def show(self, curves: Sequence[Curve], runs: int) -> None:
        """Show the curves of the first of `runs` runs."""
        self.arrived()
        self._shown = (curves, runs)
        counted = [curve for curve in curves if curve.images]
        # One norm at a time, as in the results: radii in another norm need another axis.
        first = next(iter(counted or curves), None)
        drawn = [curve for curve in counted if first and curve.norm == first.norm]
        unit = {"l2": "ℓ₂", "linf": "ℓ∞", "l1": "ℓ₁"}.get(first.norm, first.norm) if first else ""
        self.query_one(Chart).show(
            [
                ChartLine(
                    curve.title, curve.radii, curve.accuracy, *((curve.low, curve.high) if len(drawn) == 1 else ((), ())),
                    colour=place % SERIES, dash=ATTACK_DASH * curve.attacked,
                )
                for place, curve in enumerate(drawn)
            ],
            title=heading(drawn) + (f", {unit} runs" if len(drawn) < len(counted) else ""),
            x_name=f"{unit} radius",
            y_range=(0.0, 1.0),
            percent=True,
            empty="No images finished yet.",
        )  # fmt: skip
        self.query_one(TextBlock).show(self._facts(curves, drawn, runs))

    def _facts(self, curves: Sequence[Curve], drawn: Sequence[Curve], runs: int) -> Text:
        text, tail = Text(), self._tail(curves, drawn)
        width = max(1, self.size.width)
        below = sum(max(1, -(-cell_len(line) // width)) for line in tail.plain.split("\n"))
        room = max(1, self.size.height - ROWS - below)
        named = drawn if len(drawn) + (runs > len(drawn)) <= room else drawn[: max(1, room - 1)]
        for place, curve in enumerate(named):
            self.legend(text, place, curve.title)
            text.append(f"  {', '.join(_numbers(curve))}\n", "dim")
        if drawn and len(named) < runs:
            text.append(f"and {counted(runs - len(named), 'more run')}\n", "dim")
        return text + tail

    def _tail(self, curves: Sequence[Curve], drawn: Sequence[Curve]) -> Text:
        """The text below the legend."""
        text = Text()
        if len(drawn) == 1 and self.size.height >= 30:
            # In a tall panel there is room for the numbers as well.
            text.append("\nradius   certified    95 % interval\n", "dim")
            for radius, accuracy, low, high in drawn[0].columns:
                text.append(f"{radius:>6g}   {_down(accuracy):>7} %    {_down(low)} – {_up(high)} %\n")
            text.append("\n")
        for curve in curves[:1]:
            text.append(f"{curve.certificate}: {curve.guarantee}")
            band = ["band: 95 % Clopper–Pearson at each radius, over images"] * (len(drawn) == 1)
            if told := "; ".join([*filter(None, [settings(curve)]), *band]):
                text.append(f"\n{told}", "dim")
        for problem in [problem for curve in curves for problem in curve.problems][:2]:
            text.append(f"\n{problem}", "bold")
        return text


def images(curve: Curve) -> str:
    """The number of images behind the numbers, of those planned."""
    return f"{curve.images:,} of {counted(curve.planned, 'image')}"


def settings(curve: Curve) -> str:
    """The draws and the failure probability; empty for a verifier, and maybe for a log."""
    told = [f"n = {curve.n:,}" if curve.n else "", f"α = {curve.alpha:g}" if curve.alpha else ""]
    return ", ".join(filter(None, told))


def heading(drawn: Sequence[Curve]) -> str:
    """The title of a chart of these curves."""
    if not any(curve.attacked for curve in drawn):
        return "Certified accuracy"
    return (
        "Accuracy under attack"
        if all(curve.attacked for curve in drawn)
        else "Certified accuracy; dashed: under attack"
    )


def _numbers(curve: Curve) -> list[str]:
    """The numbers beside a curve's name; an attack has only its images."""
    told = [images(curve)]
    if not math.isnan(curve.acr):
        told.append(f"ACR {_three(curve.acr)}")
    if not math.isnan(curve.abstain_rate):
        told.append(f"abstains {_percent(curve.abstain_rate)}")
    return told


def _three(value: float) -> str:
    return f"{math.floor(value * 1000 + 1e-9) / 1000:.3f}"


def _down(share: float) -> str:
    return f"{math.floor(share * 1000 + 1e-9) / 10:.1f}"


def _up(share: float) -> str:
    return f"{math.ceil(share * 1000 - 1e-9) / 10:.1f}"


def _percent(value: float) -> str:
    return f"{math.ceil(value * 1000 - 1e-9) / 10:.1f} %"
