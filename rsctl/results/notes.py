"""Distinguishing settings of rows, and notes for the readers of a table."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rsctl.certificates.possible import Asked, Draws
from rsctl.config.run_settings import data_key, varying_settings
from rsctl.config.runs import CountSpec
from rsctl.results.log_counts import draws_of_counts
from rsctl.results.measurement import Measurement
from rsctl.store.rows import Rows
from rsctl.store.tables import StoredTable


def data_of(row: Measurement) -> str:
    """Key that is equal for own runs on the same data: data set, its parameters and files, split, held-out share."""
    return data_key(row.training, row.table_spec)


def mark_varying(rows: Sequence[Measurement]) -> None:
    """Set the settings that differ between own runs of one method and σ on the same data."""
    for row, values in zip(
        rows, varying_settings([(row.training, row.table_spec) for row in rows]), strict=True
    ):
        row.varying.update(values)


def about_functions(table: StoredTable[Rows]) -> list[str]:
    """Note on a run whose images were counted by several executed functions, and their differences."""
    functions = [table.functions[number] for number in np.unique(table.rows.fingerprint)]
    if len(functions) < 2:
        return []
    keys = dict.fromkeys(key for function in functions for key in function)
    differing = [key for key in keys if any(one.get(key) != functions[0].get(key) for one in functions)]
    return [
        f"{table.run.id}: its images were counted by {len(functions)} executed functions, which differ in {', '.join(differing)}. "
        "Each image was counted by one of them alone, and its certificate holds for that one."
    ]


def about_shared_noise(seeds: Sequence[int]) -> str:
    """Note on counts of held-out images whose keys don't contain the split, by their certification seeds."""
    return (
        "These images share the noise of the test images at the same positions (keys of an older rsctl): certify a model, sigma or "
        f"setting chosen on them with another certification.seed than {', '.join(map(str, seeds))}, or repeat the "
        "choice with new counts."
    )


def asked_of(row: Measurement) -> list[Asked]:
    """Arguments of `rsctl.certificates.possible.too_few`, from counts; empty where all positions were counted, or none yet."""
    radii = tuple(cell.radius for cell in row.cells)
    if row.logged and row.counted and row.images and row.alpha:
        draws, n, alpha = draws_of_counts(row.logged, row.certificate, row.alpha)
        return [Asked(row.certificate, draws, n, alpha, radii)]
    spec, table = row.spec, row.table
    if table is None or not isinstance(spec, CountSpec) or not (spec.estimated and row.images and row.alpha):
        return []
    draws = Draws.of(spec, table.rows.counts.shape[1], int(table.attributes.get("dimension", 0)))
    return [Asked(row.certificate, draws, spec.n, row.alpha, radii)]


def about_stopping(stopped: Mapping[str, Sequence[tuple[Measurement, Any]]]) -> list[str]:
    """Notes on the savings and losses of sequential sampling, by its rule."""
    notes = []
    for rule, found in stopped.items():
        draws = sorted({f"{row.mean_draws:.0f}": None for row, _ in found}, key=int)
        span = draws[0] if len(draws) == 1 else f"{draws[0]} to {draws[-1]}"
        notes.append(
            f"Images were sampled until '{rule}' was met: {span} draws per image on a run's average, of "
            f"at most {max(row.n or 0 for row, _ in found)}. With all draws radii would be larger by about {max(short.mean() for _, short in found):.3g} "
            f"on a run's average and {max(short.max() for _, short in found):.3g} at most (an estimate, no guarantee)."
        )
    return notes


def _resize(parameters: Mapping[str, Any]) -> int:
    """Side that a network resizes its images to, or the classifier in it does; 0 where neither does."""
    behind = json.loads(parameters.get("classifier") or "{}")
    return int(parameters.get("resize") or behind.get("resize", 0))


def about_resize(rows: Sequence[Measurement]) -> list[str]:
    """Note on networks that resize their images; empty without any."""
    sizes = sorted({_resize(row.training.model_parameters) for row in rows if row.own} - {0})
    if not sizes:
        return []
    sides = " or ".join(f"{size}x{size}" for size in sizes)
    return [
        f"Networks that resize their images, to {sides}: the resize is part of the certified classifier, and radii are of the "
        "image before it."
    ]


def warnings(rows: Sequence[Measurement], attacked: Sequence[Measurement] = ()) -> list[str]:
    """Notes for the readers of these counts, besides those on attacks."""
    notes = []
    specs = [row.spec for row in rows if isinstance(row.spec, CountSpec)]
    if any(spec.split == "val" for spec in specs):
        notes.append("Images held out of the training split, meant for tuning: not a test result.")
    if shared := sorted({spec.seed for spec in specs if spec.shares_noise}):
        notes.append(about_shared_noise(shared))
    notes += about_resize(rows)
    varying = {(row.split, key) for row in rows for key in row.varying}
    tuned = sorted(
        key
        for split, key in varying
        if split == "test" and not key.startswith("certification.") and key != "sweep"
    )
    if tuned:
        notes.append(
            f"Runs of one method and noise level differ in {', '.join(tuned)}, on test images: choosing the best of them here "
            'is tuning on the test set. Tune with split = "val".'
        )
    if any(key == "certification.seed" for _, key in varying):
        notes.append(
            "One model was certified with several seeds (images and noise): choosing the best of them "
            "is not sound. Report one, or all."
        )
    smoothed = {one.training.hash for one in attacked if getattr(one.spec, "target", "base") != "base"}
    if any(row.arithmetic == "exact" and row.training.hash in smoothed for row in rows):
        notes.append(
            "Attacks on the smoothed classifier draw its noise in float: the classifier certified in exact arithmetic is another one, "
            "whose robustness may differ."
        )
    incomplete = [row for row in rows if not row.complete]
    if incomplete:
        images, planned = sum(row.images for row in rows), sum(row.planned for row in rows)
        notes.append(
            f"{len(incomplete)} of {len(rows)} rows {'is' if len(incomplete) == 1 else 'are'} incomplete ({images} of {planned} images finished): their numbers are "
            "over the finished images, the beginning of a random order of those planned."
        )
    return notes
