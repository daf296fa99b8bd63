"""The chart of the results mode, with the text about the curve under the cursor below."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Vertical

from rsctl.plain import plain
from rsctl.tui.curve_display import chart_line, heading, images, norm_symbol, settings
from rsctl.tui.results.reader import Baseline
from rsctl.tui.views import Curve
from rsctl.tui.widgets.chart import Chart, ChartLine
from rsctl.tui.widgets.styles import SERIES, TextBlock


class ResultsChart(Vertical):
    """Curves in one norm, that of the curve under the cursor: radii in another norm need another axis."""

    def compose(self) -> ComposeResult:
        yield Chart(empty="Reading the counts …")
        yield TextBlock("", classes="facts", id="results-facts", markup=False)

    def show(
        self,
        chosen: Sequence[tuple[int, Curve]],
        here: Curve | None,
        baseline: Baseline | None,
        sigmas: Collection[float],
        empty: str,
    ) -> None:
        """Draw the chosen curves, each with its place in the colours, and the one under the cursor, `here`, on top."""
        drawn = [(place, curve) for place, curve in chosen if curve.images]
        if here is not None and here.images and all(curve is not here for _, curve in drawn):
            drawn.append((len(chosen), here))
        norm = here.norm if here is not None and here.images else next((c.norm for _, c in drawn), "l2")
        shown = [(place, curve) for place, curve in drawn if curve.norm == norm]
        shown.sort(key=lambda pair: pair[1] is not here)
        lines = [chart_line(curve, place, band=curve is here) for place, curve in shown]
        for place, (method, sigma, radii, accuracy) in enumerate(baseline.rows if baseline else ()):
            if sigma in sigmas and norm == "l2":
                title = f"{method} σ {sigma:g}"
                lines.append(ChartLine(title, radii, accuracy, colour=place % SERIES, dash=2))
        mixed = f", {norm_symbol(norm)} runs" if len(shown) < len(drawn) else ""
        self.query_one(Chart).show(
            lines,
            title=heading([curve for _, curve in shown]) + mixed,
            x_name=f"{norm_symbol(norm)} radius",
            y_range=(0.0, 1.0),
            percent=True,
            empty=empty,
        )
        self.query_one(TextBlock).show(facts(here, baseline))


def facts(here: Curve | None, baseline: Baseline | None) -> Text:
    """Describes the curve under the cursor, and the source of the reference lines."""
    text = Text()
    if here is not None and here.images:
        text.append(here.title, "bold")
        told = ", ".join(filter(None, [images(here), settings(here)]))
        text.append(f"  {told}; band 95 %\n", "dim")
        text.append(f"{here.certificate}: {here.guarantee}")
    elif here is not None:
        text.append(here.title, "bold")
        text.append("  " + ("; ".join(here.problems) or "no images finished yet"))
    if here is not None and here.warning:
        text.append(f"\nLEARNED NOTHING: {here.warning}", "bold red")
    if here is not None and here.images and here.problems:
        text.append(f"\n{here.problems[0]}", "bold")
    if baseline is not None:
        text.append(f"\n╌╌ {plain(baseline.heading, 400)}", "dim")
    return text
