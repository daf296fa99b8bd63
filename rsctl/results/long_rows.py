"""Measurements in long form: one row per run and radius, as in a CSV file or a DataFrame."""

from __future__ import annotations

import math
from typing import Any

from rsctl.results.sweep import Results

COLUMNS = (
    "run", "source", "method", "dataset", "split", "model", "sigma", "trained_sigma", "noise", "seed", "certificate", "guarantee", "norm", "k",
    "alpha", "n", "n0", "mean_draws", "stopping", "images", "planned", "subset", "radius", "certified_accuracy", "low", "high", "proved_accuracy", "population_accuracy", "worst_class_accuracy",
    "acr", "clean_accuracy", "abstain_rate", "cap_share", "settings", "learned_nothing",
)  # fmt: skip
"""Columns of the CSV, and keys of a JSON row."""


def long_rows(results: Results) -> list[dict[str, Any]]:
    """One dict per row and radius, with the keys `COLUMNS`; shares in [0, 1] and at full precision, None for unknown.

    `low` and `high` are the 95 % interval over images; `proved_accuracy` is what holds of these images at all radii
    at once with probability 0.999, after the certificates that may be wrong; `population_accuracy` what holds, at each
    radius by itself and likewise, of everything that they are a random sample of.
    """
    found = []
    for row in results.every:
        common = {
            "run": row.run, "source": row.source, "method": row.method, "dataset": row.dataset, "split": row.split,
            "model": row.model, "sigma": None if row.levels else row.sigma, "trained_sigma": row.trained_sigma, "noise": row.noise, "seed": row.seed, "certificate": row.certificate,
            "guarantee": row.guarantee, "norm": row.norm, "k": row.k, "alpha": row.alpha if row.estimated else None, "n": row.n, "n0": row.n0, "stopping": row.stopping, "mean_draws": number_or_none(row.mean_draws),
            "images": row.images, "planned": row.planned, "subset": row.subset, "acr": number_or_none(row.acr),
            "clean_accuracy": number_or_none(row.clean_accuracy), "abstain_rate": number_or_none(row.abstain_rate),
            "cap_share": number_or_none(row.cap_share), "settings": row.label,
            "learned_nothing": row.degenerate.text if row.degenerate else None,
        }  # fmt: skip
        for cell in row.cells:
            low, high = cell.interval
            own = {
                "radius": cell.radius, "certified_accuracy": number_or_none(cell.accuracy), "low": low, "high": high,
                "proved_accuracy": number_or_none(row.proved(cell)), "population_accuracy": number_or_none(row.proved_of_population(cell)),
                "worst_class_accuracy": number_or_none(cell.worst_class),
            }  # fmt: skip
            values = {**common, **own}
            found.append({key: values[key] for key in COLUMNS})
    return found


def number_or_none(value: float) -> float | None:
    """A JSON value: None for NaN."""
    return None if math.isnan(value) else value
