"""The text below the chart of the results mode: settings, guarantee and caveats."""

from __future__ import annotations

from rich.text import Text

from rsctl.plain import plain
from rsctl.tui.curve_display import images, settings
from rsctl.tui.results.reader import Baseline
from rsctl.tui.views import Curve


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
