"""Charts of certified accuracy and of training, in the line styles of the figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rsctl.report.figures.line_styles import (
    COLOURS,
    MARKERS,
    STYLES,
    in_common,
    look,
    looks,
    method_colours,
    raw_label,
)
from rsctl.report.figures.plots import BANDS, about_attacks
from rsctl.report.figures.series import Panel, PlottedLine, by_norm
from rsctl.report.figures.titles import titles
from rsctl.report.html.charts import ChartView, DrawnLine
from rsctl.report.html.glyphs import dash_of, dashes
from rsctl.results.attacks import attack_spec, describe_attack, distances, withstands
from rsctl.results.measurement import Measurement
from rsctl.results.rounding import percent, percent_up
from rsctl.store.layout import Store
from rsctl.store.metrics import read_metrics, thinned

POINTS, EPOCHS = 200, 160
MOST_LINES = 60
NORMS = {"l1": "ℓ₁ radius", "l2": "ℓ₂ radius", "linf": "ℓ∞ radius"}


def accuracy_views(panels: Sequence[Panel]) -> list[ChartView]:
    """One chart per table, and one per norm where certificates and verifiers are side by side."""
    colours = method_colours([one.line.first.method for panel in panels for one in panel.series])
    found = []
    for number, (panel, title) in enumerate(zip(panels, titles(panels, "curve"), strict=True)):
        view = _view(panel, f"curve-{number + 1}", title + in_common(panel))
        radii, drawn = _radii(panel), looks(panel, colours)
        for one, its in zip(panel.series, drawn, strict=True):
            view.lines.append(
                _certified(one, radii, raw_label(one, panel), its.colour, its.marker, dashes(its.style))
            )
        of_model = {
            (row.training.hash, one.sigma): its
            for one, its in zip(panel.series, drawn, strict=True) for row in one.line.rows if row.own
        }  # fmt: skip
        for row in panel.attacked:
            its = of_model.get((row.training.hash, row.sigma)) or look(colours[row.method], 0, 0)
            view.lines.append(_attacked(row, radii, its.colour, its.marker))
        view.notes = [*about_attacks(panel), BANDS]
        found.append(view)
    return found + _side_by_side(panels, colours)


def _view(panel: Panel, key: str, title: str) -> ChartView:
    name = NORMS.get(panel.group.first.norm, "radius")
    return ChartView(key, title, name, "certified accuracy (%)", [], y_most=1.0, percent=True)


def _radii(panel: Panel) -> NDArray[np.float64]:
    """Radii of a chart, with those of the table among them, so that their values are read as printed."""
    largest = 1.05 * max([one.largest for one in panel.series] + [1e-6])
    asked = [radius for radius in panel.group.radii if radius <= largest]
    return np.unique(np.concatenate([np.linspace(0, largest, POINTS), asked]))


def _certified(one: PlottedLine, radii: Any, name: str, colour: str, marker: str, dash: str | None) -> DrawnLine:  # fmt: skip
    mean, low, high = one.accuracy(radii)
    zero = np.flatnonzero(mean <= 0)
    end = int(zero[0]) + 1 if len(zero) else len(radii)
    shown = [
        f"{percent(a)} [{percent(b)}, {percent_up(c)}]"
        for a, b, c in zip(mean[:end].tolist(), low[:end].tolist(), high[:end].tolist(), strict=True)
    ]
    return DrawnLine(
        name, colour, marker, dash, radii[:end].tolist(), mean[:end].tolist(), low[:end].tolist(), high[:end].tolist(), shown
    )  # fmt: skip


def _attacked(row: Measurement, radii: Any, colour: str, marker: str) -> DrawnLine:
    reached = distances(row)[np.isfinite(distances(row))]
    wide = np.linspace(0, max([radii[-1], *reached * 1.05]), POINTS)
    shares = [withstands(row, float(r)) for r in wide]
    name = f"{row.label}, σ = {row.sigma:g}, seed {row.seed}, under attack by {describe_attack(attack_spec(row.spec))}"
    return DrawnLine(
        name, colour, marker, "2 4", wide.tolist(), shares, shown=[percent_up(one) for one in shares]
    )


def _side_by_side(panels: Sequence[Panel], colours: dict[str, str]) -> list[ChartView]:
    found = []
    several = [
        panel for panel in by_norm(list(panels))
        if len({one.line.first.certificate for one in panel.series}) > 1
    ]  # fmt: skip
    for number, (panel, title) in enumerate(zip(several, titles(several, "families"), strict=True)):
        view, radii = (
            _view(panel, f"beside-{number + 1}", f"Certificates side by side: {title}"),
            _radii(panel),
        )
        certificates = list(dict.fromkeys(one.line.first.certificate for one in panel.series))
        alone = len({one.line.first.method for one in panel.series}) == 1
        for place, one in enumerate(panel.series):
            row = one.line.first
            its = certificates.index(row.certificate)
            colour = COLOURS[its % len(COLOURS)] if alone else colours[row.method]
            kind = "deterministic" if row.kind == "verifications" else row.guarantee.partition(" per")[0]
            sigma = "" if row.levels else f", σ = {one.sigma:g}"
            name = f"{row.label}{sigma}, {row.certificate} ({kind})"
            view.lines.append(
                _certified(one, radii, name, colour, MARKERS[place % len(MARKERS)], dash_of(its))
            )
        view.notes = [
            "Lines are about different classifiers: sampling about the smoothed one, verifiers about the network itself.",
            BANDS,
        ]
        found.append(view)
    return found


def training_views(store: Store, rows: Sequence[Measurement]) -> list[ChartView]:
    """Training loss and accuracy by epoch of every network of these rows that was trained here; none without records."""
    models: dict[str, Measurement] = {}
    for row in rows:
        for level in row.levels or [row]:
            if level.own:
                models.setdefault(level.table_spec.model_run, level)
    curves = {model: thinned(read_metrics(store.model(model).path), EPOCHS) for model in models}
    drawn = [(models[model], records) for model, records in curves.items() if records][:MOST_LINES]
    if not drawn:
        return []
    colours = method_colours([row.training.method for row, _ in drawn])
    names = list(dict.fromkeys(_recipe(row) for row, _ in drawn))
    levels = sorted({row.training.sigma for row, _ in drawn})
    views = [
        ChartView("training-loss", "Training loss", "epoch", "loss", []),
        ChartView(
            "training-accuracy",
            "Training accuracy, under noise",
            "epoch",
            "accuracy (%)",
            [],
            y_most=1.0,
            percent=True,
        ),
    ]
    for row, records in drawn:
        its = look(colours[row.training.method], names.index(_recipe(row)), levels.index(row.training.sigma))
        label = f"{row.label}, trained at σ = {row.training.sigma:g}, seed {row.training.seed}"
        for view, key in zip(views, ("loss", "accuracy"), strict=True):
            values = [record[key] for record in records]
            text = [f"{value:.4g}" if key == "loss" else f"{100 * value:.1f}" for value in values]
            epochs = [record["epoch"] for record in records]
            view.lines.append(
                DrawnLine(label, its.colour, its.marker, dashes(STYLES[levels.index(row.training.sigma) % len(STYLES)]), epochs, values, shown=text)
            )  # fmt: skip
    left = sum(1 for records in curves.values() if records) - len(drawn)
    for view in views:
        view.notes = [f"Left out: {left} further trainings."] if left else []
    return views


def _recipe(row: Measurement) -> str:
    return f"{row.training.method} {row.recipe or row.training.model}"
