"""Runs and images as rows of the results' tables."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from rsctl.catalog.labels import Labels
from rsctl.plain import plain
from rsctl.results.rounding import percent, percent_up, three_down
from rsctl.text import radius_text
from rsctl.tui.views import Curve, ImageView, RunView
from rsctl.tui.widgets.cells import Cell, GridColumn, GridRow, mark_of, size_of

LAST = (
    GridColumn("ACR", 6, right=True),
    GridColumn("Abstain", 7, right=True),
    GridColumn("At cap", 6, right=True),
)
SAMPLE_SORTS = ("image", "radius, largest first", "radius, smallest first", "wrong first")


def four(value: float) -> str:
    """Four decimals, rounded down."""
    return f"{math.floor(value * 10000) / 10000:.4f}" if math.isfinite(value) else "none"


def result_columns(radii: Sequence[float], intervals: bool, rows: Sequence[GridRow] = ()) -> list[GridColumn]:
    """Columns for the run, its images, each radius and the rates; run names are cut last."""
    names = [2 + size_of(row.cells[0]) for row in rows]
    wide = 15 if intervals else 6
    return [
        GridColumn("Run", least=max(22, min(36, max(names, default=0)))),
        GridColumn("Images", 13, right=True),
        *(
            GridColumn(radius_text(radius), max(wide, len(radius_text(radius))), right=True)
            for radius in radii
        ),
        *LAST,
    ]


def sorts(radii: Sequence[float]) -> list[str]:
    """Titles of the columns to sort runs by; the first one keeps the planned order."""
    return [column.title for column in result_columns(radii, False)]


def in_order(runs: Sequence[RunView], curves: Mapping[str, Curve], sort: str) -> list[RunView]:
    """Runs sorted by a column, largest first and those without a number last; ties keep the planned order."""

    def number(run: RunView) -> float:
        curve = curves.get(run.key)
        if curve is None or not curve.images:
            return math.nan
        own = {
            "Images": curve.images,
            "ACR": curve.acr,
            "Abstain": curve.abstain_rate,
            "At cap": curve.cap_share,
        }
        return own.get(sort, next((a for r, a, _, _ in curve.columns if radius_text(r) == sort), math.nan))

    if sort == "Run":
        return list(runs)
    return sorted(runs, key=lambda run: -number(run) if not math.isnan(number(run)) else math.inf)


def result_row(
    run: RunView, curve: Curve | None, radii: Sequence[float], colour: int | None, intervals: bool
) -> GridRow:
    """A run's row; `colour` is that of its curve, None if it isn't drawn."""
    wrong = run.warning or (curve.warning if curve else "")
    mark: Cell = (
        (("━ " if colour is not None else "  "), str(colour) if colour is not None else ""),
        *(((f"{mark_of(wrong)}: ", "failed"),) if wrong else ()),
        (run.name, ""),
    )
    blank = ("",) * len(radii)
    if curve is None:
        return GridRow(run.key, (mark, (("reading …", "muted"),), *blank, "", "", ""))
    if not curve.images:
        why = "refused" if curve.problems else "none yet"
        return GridRow(run.key, (mark, ((why, "failed" if curve.problems else "muted"),), *blank, "", "", ""))
    at = {
        radius: f"{percent(accuracy)} {percent(low)}–{percent_up(high)}" if intervals else percent(accuracy)
        for radius, accuracy, low, high in curve.columns
    }
    complete = curve.images == curve.planned
    images = f"{curve.images:,}" if complete else f"{curve.images:,} of {curve.planned:,}"
    shown = ((images, "" if complete else "running"),)
    rates = (three_down(curve.acr), percent_up(curve.abstain_rate), percent_up(curve.cap_share))
    return GridRow(run.key, (mark, shown, *(at.get(radius, "") for radius in radii), *rates))


def sample_columns(labels: Labels) -> list[GridColumn]:
    """The columns of the images list, wide enough for class names if there are any."""
    wide = min(16, max(map(len, labels.names), default=0))
    return [
        GridColumn("Image", 12 if wide else 0),
        GridColumn("Label", 4 + wide if wide else 6, right=not wide),
        GridColumn("Predicted", 10 + wide, right=not wide),
        GridColumn("Radius", 8, right=True),
        GridColumn("Top count", 10, right=True),
        GridColumn("Second", 8, right=True, drop=3 if wide else 0),
        GridColumn("n", 9, right=True, drop=2 if wide else 0),
        GridColumn("Seconds", 8, right=True, drop=4),
    ]


def sample_rows(samples: Sequence[ImageView], order: str, labels: Labels) -> list[GridRow]:
    """Images one by one, in one of `SAMPLE_SORTS`."""
    keys = {
        "image": lambda s: s.index,
        "radius, largest first": lambda s: -s.radius,
        "radius, smallest first": lambda s: s.radius,
        "wrong first": lambda s: (s.predicted == s.label, s.predicted == -1, s.index),
    }
    return [_sample_row(sample, labels) for sample in sorted(samples, key=keys[order])]


def _sample_row(sample: ImageView, labels: Labels) -> GridRow:
    named = plain(labels.name(sample.predicted), 40)
    if sample.predicted == -1:
        predicted: Cell = (("abstains", "cancelled"),)
    elif sample.predicted == sample.label:
        predicted = ((named, "done"),)
    else:
        predicted = ((f"{named} wrong", "failed"),)
    return GridRow(
        str(sample.index),
        (
            str(sample.index),
            plain(labels.name(sample.label), 40),
            predicted,
            four(sample.radius),
            # Logs may lack counts, and proofs have none.
            f"{sample.first:,}" if sample.first else "",
            f"{sample.second:,}" if sample.first else "",
            f"{sample.n:,}" if sample.n else "",
            f"{sample.seconds:.2f}",
        ),
    )
