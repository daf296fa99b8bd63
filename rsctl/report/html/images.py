"""Values of the image browser: per run and image the label, the prediction, the radius and the counts."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rsctl.catalog import plugins
from rsctl.catalog.labels import Labels, labels_of
from rsctl.errors import UserError
from rsctl.plain import printable
from rsctl.report.html.pictures import PictureSource, draw_pictures
from rsctl.report.html.private import Private
from rsctl.results.measurement import Measurement
from rsctl.results.notes import data_of
from rsctl.results.sweep import Results
from rsctl.store.layout import Store
from rsctl.store.tables import read_table
from rsctl.text import counted

MOST_IMAGES, MOST_CELLS = 500, 6000
"""Most images of a data set, and most images of all runs together."""
TOP = 5
"""Classes whose counts are shown; the others are summed."""
PICTURE_BYTES = 1_600_000
"""Most bytes of all pictures."""


@dataclass
class ImageSet:
    """The runs on one data set, and the positions that are shown."""

    rows: list[Measurement] = field(default_factory=list)
    positions: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    total: int = 0

    @property
    def first(self) -> Measurement:
        return self.rows[0]


def image_sets(results: Results) -> list[ImageSet]:
    """Runs with finished images by their data, logs beside the runs on a data set of that name."""
    found: dict[str, ImageSet] = {}
    measured = [row for row in results.measurements if row.images]
    for row in measured:
        key = data_of(row) if row.own else json.dumps([row.dataset, row.split])
        found.setdefault(key, ImageSet()).rows.append(row)
    most = min(MOST_IMAGES, max(1, MOST_CELLS // max(len(measured), 1)))
    for one in found.values():
        every = np.unique(np.concatenate([row.index for row in one.rows]))
        one.total = len(every)
        chosen = np.linspace(0, len(every) - 1, min(most, len(every))).round().astype(int)
        one.positions = every[np.unique(chosen)]
    return list(found.values())


def image_values(store: Store, sets: Sequence[ImageSet], results: Results, root: Path, clean: Private,
                 *, draw: bool) -> tuple[list[dict[str, Any]], list[str]]:  # fmt: skip
    """One JSON value per set of images, and notes on what is left out."""
    found, notes = [], []
    for one in sets:
        source, labels = _source(store, one.first, root)
        known = _labels(one)
        pictures, why = draw_pictures(source, root, known) if draw else ({}, "")
        if sum(map(len, pictures.values())) > PICTURE_BYTES:
            pictures, why = _fitting(pictures), "the others would make this file too large"
        name = f"{one.first.dataset} {one.first.split}"
        if why:
            notes.append(f"Pictures of {name} left out: {clean(why)}.".replace("..", "."))
        if one.total > len(one.positions):
            notes.append(
                f"{name}: {counted(len(one.positions), 'image')} of {one.total:,} shown, evenly spaced; the tables are over all."
            )
        found.append({
            "name": printable(clean(name)), "index": one.positions.tolist(), "label": [known[p] for p in one.positions.tolist()],
            "classes": {str(c): printable(clean(labels.names[c])) for c in _classes(store, one) if 0 <= c < len(labels.names)},
            "pictures": [pictures.get(p, "") for p in one.positions.tolist()],
            "runs": [_run(store, row, one.positions, results, clean) for row in one.rows],
        })  # fmt: skip
    return found, notes


def _fitting(pictures: dict[int, str]) -> dict[int, str]:
    """The first pictures that fit."""
    kept: dict[int, str] = {}
    size = 0
    for position, picture in pictures.items():
        size += len(picture)
        if size > PICTURE_BYTES:
            break
        kept[position] = picture
    return kept


def _source(store: Store, row: Measurement, root: Path) -> tuple[PictureSource, Labels]:
    """The data set of a run, or of a log by its name alone, and the names of its classes."""
    row = (row.levels or [row])[0]
    parameters: dict[str, Any] = {}
    planned, names = "", list(plugins())
    if row.own:
        try:
            launch = store.run(row.kind, row.run).launch()
            parameters, names = launch["dataset_parameters"], list(launch["plugins"])
        except (UserError, KeyError):
            pass  # the run's other files are readable; without these its data set has its default parameters
        planned = row.table_spec.data
    source = PictureSource(row.dataset, parameters, row.split, planned, names)
    return source, labels_of(row.dataset, parameters, row.split, root)


def _labels(one: ImageSet) -> dict[int, int]:
    found: dict[int, int] = {}
    for row in one.rows:
        for position, label in zip(row.index.tolist(), row.labels.tolist(), strict=True):
            found.setdefault(position, label)
    return {position: found[position] for position in one.positions.tolist()}


def _classes(store: Store, one: ImageSet) -> Iterable[int]:
    """Classes whose names may be needed: all of a small data set, else those of labels and predictions."""
    most = max(int(row.labels.max(initial=0)) for row in one.rows)
    if most < 100:
        return range(most + 1)
    every = [np.unique(np.concatenate([row.labels, row.certified.predicted])) for row in one.rows]
    return [int(c) for c in np.unique(np.concatenate(every)) if c >= 0]


def _run(store: Store, row: Measurement, positions: NDArray[np.int64], results: Results, clean: Private) -> dict[str, Any]:  # fmt: skip
    """Columns of a run for the positions that it has; `at` are indices into the set's positions."""
    at = np.flatnonzero(np.isin(positions, row.index))
    rows = np.searchsorted(row.index, positions[at])
    radius = row.distance if row.kind == "attacks" else row.certified.radius
    assert radius is not None
    counts, draws = _counts(store, row)
    broken = {
        one.image for one in results.broken
        if one.certified_by.endswith(f"/{row.run}") and one.certificate == row.certificate
    }  # fmt: skip
    return {
        "id": row.run, "label": printable(clean(row.label)), "sigma": row.sigmas, "seed": row.seed, "certificate": row.certificate,
        "guarantee": row.guarantee, "norm": row.norm, "kind": row.kind, "at": at.tolist(),
        "predicted": row.certified.predicted[rows].tolist(),
        "radius": [four(value, up=row.kind == "attacks") for value in radius[rows].tolist()],
        "counts": [] if counts is None else [_top(counts[i], int(row.certified.predicted[i])) for i in rows],
        "n": [] if draws is None else draws[rows].tolist(),
        "broken": [i for i, position in enumerate(positions[at].tolist()) if position in broken],
    }  # fmt: skip


def _counts(store: Store, row: Measurement) -> tuple[NDArray[Any] | None, NDArray[Any] | None]:
    """(N, C) counts and (N,) draws of a run's images; None where there are none by class."""
    if row.kind == "counts":
        table = read_table(store.run(row.kind, row.run)).restrict(row.index)
        if np.array_equal(table.rows.index, row.index):
            return table.rows.counts, table.rows.n
    if row.logged and row.logged.log.radii.draws is not None and row.logged.log.radii.counts is not None:
        radii = row.logged.log.radii
        return radii.counts, radii.draws
    return None, None


def _top(counts: NDArray[Any], predicted: int) -> list[int]:
    """Class and count of the most frequent classes, alternately; a log may have the predicted class alone."""
    if len(counts) == 1:
        return [predicted, int(counts[0])] if predicted >= 0 else []
    order = np.argsort(-counts, kind="stable")[:TOP]
    return [int(value) for c in order if counts[c] for value in (c, counts[c])]


def four(value: float, *, up: bool = False) -> float | None:
    """Four decimals, rounded down, or up for a distance that bounds a radius; None for infinity."""
    if not math.isfinite(value):
        return None
    return (math.ceil(value * 10_000 - 1e-9) if up else math.floor(value * 10_000 + 1e-9)) / 10_000
