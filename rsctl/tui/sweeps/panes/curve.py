"""Certified accuracy against radius, with its meaning below."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.text import Text
from textual.app import ComposeResult

from rsctl.results.rounding import percent, percent_up, three_down
from rsctl.text import counted
from rsctl.tui.curve_display import chart_line, heading, images, norm_symbol, settings
from rsctl.tui.sweeps.panes.curve_pane import CurvePane
from rsctl.tui.sweeps.selection import Selection
from rsctl.tui.views import Curve
from rsctl.tui.widgets.chart import Chart
from rsctl.tui.widgets.styles import SERIES, TextBlock

if TYPE_CHECKING:
    from rsctl.tui.curves import Curves

ROWS = 8
"""Lines of a panel reserved for the chart: a title, five rows and an axis."""


class CertifiedPane(CurvePane):
    """The curve of a run with its band, or those of a sweep's first runs."""

    KEY, TITLE, EMPTY = "c", "Curve", "No images finished yet."
    READING = "Reading the counts …"

    def __init__(self) -> None:
        super().__init__()
        self._shown: tuple[Sequence[Curve], int] | None = None

    @cached_property
    def _curves(self) -> Curves:
        """Used only on the background thread."""
        from rsctl.tui.curves import Curves

        return Curves()

    def on_resize(self) -> None:
        """Redraw: the number of curves named below depends on the height."""
        if self._shown is not None:
            self.show(self._shown)

    def _clear(self) -> None:
        self._shown = None
        super()._clear()

    def compose(self) -> ComposeResult:
        yield Chart(empty="")
        yield TextBlock("", classes="facts", markup=False)

    def load(self, selection: Selection) -> tuple[list[Curve], int] | None:
        """The curves of the first runs, and the number of runs."""
        readable = [run for run in selection.runs if not run.problem][:SERIES]
        curves = [self._curves.of(selection.overview.store, run) for run in readable]
        return (curves, len(selection.runs)) if selection.runs else None

    def show(self, data: tuple[Sequence[Curve], int]) -> None:
        self.arrived()
        self._shown = curves, runs = data
        counted = [curve for curve in curves if curve.images]
        # One norm at a time, as in the results: radii in another norm need another axis.
        first = next(iter(counted or curves), None)
        drawn = [curve for curve in counted if first and curve.norm == first.norm]
        unit = norm_symbol(first.norm) if first else ""
        self.query_one(Chart).show(
            [chart_line(curve, place, len(drawn) == 1) for place, curve in enumerate(drawn)],
            title=heading(drawn) + (f", {unit} runs" if len(drawn) < len(counted) else ""),
            x_name=f"{unit} radius",
            y_range=(0.0, 1.0),
            percent=True,
            empty=self.EMPTY,
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
        text = Text()
        if len(drawn) == 1 and self.size.height >= 30:
            # In a tall panel there is room for the numbers as well.
            text.append("\nradius   certified    95 % interval\n", "dim")
            for radius, accuracy, low, high in drawn[0].columns:
                text.append(
                    f"{radius:>6g}   {percent(accuracy):>7} %    {percent(low)} – {percent_up(high)} %\n"
                )
            text.append("\n")
        for curve in curves[:1]:
            text.append(f"{curve.certificate}: {curve.guarantee}")
            band = ["band: 95 % Clopper–Pearson at each radius, over images"] * (len(drawn) == 1)
            if told := "; ".join([*filter(None, [settings(curve)]), *band]):
                text.append(f"\n{told}", "dim")
        for problem in [problem for curve in curves for problem in curve.problems][:2]:
            text.append(f"\n{problem}", "bold")
        return text


def _numbers(curve: Curve) -> list[str]:
    """The numbers beside a curve's name; an attack has only its images."""
    told = [images(curve)]
    if not math.isnan(curve.acr):
        told.append(f"ACR {three_down(curve.acr)}")
    if not math.isnan(curve.abstain_rate):
        told.append(f"abstains {percent_up(curve.abstain_rate)} %")
    return told
