"""Certified accuracy against radius, with what it means below."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.text import Text
from textual.app import ComposeResult

from rsctl.tui.views import Curve
from rsctl.tui.widgets.chart import Chart, Series
from rsctl.tui.widgets.curve_pane import CurvePane
from rsctl.tui.widgets.styles import SERIES, Lines


class CertifiedPane(CurvePane):
    """The curve of a run with its band, or those of a sweep's first runs."""

    READING = "reading the shards …"

    def compose(self) -> ComposeResult:
        yield Chart(empty="")
        yield Lines("", classes="facts", markup=False)

    def show(self, curves: Sequence[Curve]) -> None:
        self.arrived()
        drawn = [curve for curve in curves if curve.images]
        unit = {"l2": "ℓ₂", "linf": "ℓ∞", "l1": "ℓ₁"}
        norms = sorted({unit.get(curve.norm, curve.norm) for curve in curves})
        self.query_one(Chart).show(
            [
                Series(
                    curve.title, curve.radii, curve.accuracy, *((curve.low, curve.high) if len(drawn) == 1 else ((), ())),
                    colour=place % SERIES,
                )
                for place, curve in enumerate(drawn)
            ],
            title="Certified accuracy",
            x_name=f"{'/'.join(norms)} radius",
            y_range=(0.0, 1.0),
            percent=True,
            empty="no image is certified yet",
        )  # fmt: skip
        self.query_one(Lines).tell(self._facts(curves, drawn))

    def _facts(self, curves: Sequence[Curve], drawn: Sequence[Curve]) -> Text:
        text = Text()
        for place, curve in enumerate(drawn):
            self.legend(text, place, curve.title)
            text.append(
                f"  {images(curve)}, ACR {_three(curve.acr)}, abstains {_percent(curve.abstain_rate)}\n",
                "dim",
            )
        if len(drawn) == 1 and self.size.height >= 30:
            # In a tall panel there is room for the numbers as well.
            text.append("\nradius   certified    95 % interval\n", "dim")
            for radius, accuracy, low, high in drawn[0].columns:
                text.append(f"{radius:>6g}   {_down(accuracy):>7} %    {_down(low)} – {_up(high)} %\n")
            text.append("\n")
        for curve in curves[:1]:
            text.append(f"{curve.certificate}: {curve.guarantee}\n")
            text.append(settings(curve), "dim")
            if len(drawn) == 1:
                text.append("; band: 95 % Clopper–Pearson at each radius, over images", "dim")
        for problem in [problem for curve in curves for problem in curve.problems][:2]:
            text.append(f"\n{problem}", "bold")
        return text


def images(curve: Curve) -> str:
    """How many images the numbers speak of."""
    return f"{curve.images:,} of {curve.planned:,} images"


def settings(curve: Curve) -> str:
    """The draws and the failure probability; a verifier has neither, and a log may not tell."""
    told = [f"n = {curve.n:,}" if curve.n else "", f"α = {curve.alpha:g}" if curve.alpha else ""]
    return ", ".join(filter(None, told)) or "no draws"


def _three(value: float) -> str:
    return "–" if math.isnan(value) else f"{math.floor(value * 1000 + 1e-9) / 1000:.3f}"


def _down(share: float) -> str:
    return f"{math.floor(share * 1000 + 1e-9) / 10:.1f}"


def _up(share: float) -> str:
    return f"{math.ceil(share * 1000 - 1e-9) / 10:.1f}"


def _percent(value: float) -> str:
    return "–" if math.isnan(value) else f"{math.ceil(value * 1000 - 1e-9) / 10:.1f} %"
