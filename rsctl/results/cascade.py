"""Cascades of the runs of a sweep: several noise levels as one classifier, certified from the counts of each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from rsctl.certificates import Certified
from rsctl.certificates.cascade import NAME, Cascade
from rsctl.certificates.runner_up import RunnerUp
from rsctl.errors import InputError, RefusedError
from rsctl.results.accuracy import scored
from rsctl.results.measurement import BROKEN, Measurement, common_images
from rsctl.results.notes import data_of
from rsctl.results.rounding import plain
from rsctl.store.degenerate import Verdict

KIND = "cascades"
_SHARED = {
    "dataset": "dataset", "split": "certification.split", "holdout": "certification.val_share", "seed": "certification.seed",
    "noise": "noise", "exponent": "exponent", "stopping": "certification.stopping", "arithmetic": "certification.arithmetic",
}  # fmt: skip
"""Fields of a table's spec that all levels must share, and their keys in a sweep file."""


def measure_cascade(levels: Sequence[Measurement], cascade: Cascade) -> Measurement:
    """One classifier from measurements with counts, over the images that all of them have finished.

    Raises RefusedError where they aren't on the same images, or where the certificate isn't sound for their counts.
    """
    require_same_images(levels)
    positions = common_images(levels)
    tables = [one.table.restrict(positions) for one in levels if one.table]
    certified, labels = (
        Certified(np.empty(0, np.int64), np.empty(0), np.empty(0, bool)),
        np.empty(0, np.int32),
    )
    last, alpha = levels[-1], levels[-1].alpha or 0.0
    if len(positions):
        require_same_labels(levels, [one.rows.label for one in tables])
        certified = cascade.certify([one.counts() for one in tables], alpha)
        labels = tables[0].rows.label
    told = {key: value for key, value in last.varying.items() if key not in (BROKEN, "certification.sigma")}
    return Measurement(
        run=cascade_id([one.run for one in levels], cascade.taus), kind=KIND, spec=last.spec, train=last.train, certificate=NAME,
        guarantee=cascade.guarantee.label(alpha, last.arithmetic), norm=cascade.norm, alpha=alpha, failure=alpha,
        index=positions, seconds=sum((one.rows.seconds for one in tables), np.zeros(len(positions))),
        planned=last.planned, subset=last.subset, subset_key=last.subset_key, varying=told,
        mean_draws=sum(float(one.rows.n.mean()) for one in tables) if len(positions) else float("nan"),
        degenerate=_verdict(levels), problems=list(dict.fromkeys(text for one in levels for text in one.problems)),
        recipe=json.dumps([[one.recipe for one in levels], list(cascade.taus)]), levels=[replace(one, table=None) for one in levels], taus=cascade.taus,
        **scored(certified, labels, sorted({cell.radius for one in levels for cell in one.cells})),
    )  # fmt: skip


def cascades_of(rows: Sequence[Measurement], cascade: Cascade) -> tuple[list[Measurement], list[str]]:
    """The cascades of a sweep's rows, one per method, settings and training seed, with notes for their readers.

    Raises InputError where no method has a run at every level.
    """
    if len(set(cascade.sigmas)) < len(cascade.sigmas):
        raise InputError("cascade: its levels need different σ, by which the runs of a sweep are found.")
    by_settings: dict[str, dict[str, Measurement]] = {}
    for row in rows:
        if row.sigma in cascade.sigmas:
            # A run under several certificates is one table.
            by_settings.setdefault(settings_key(row), {}).setdefault(f"{row.run} {row.subset_key}", row)
    found, left_out = [], []
    for alike in by_settings.values():
        by_level = [[row for row in alike.values() if row.sigma == sigma] for sigma in cascade.sigmas]
        levels = [one for one in map(one_of, by_level) if one]
        if len(levels) == len(by_level):
            found.append(measure_cascade(levels, cascade))
        else:
            lacking = [f"{sigma:g}" for sigma, some in zip(cascade.sigmas, by_level, strict=True) if not some]
            left_out.append(
                f"No cascade of {levels[0].name}, seed {levels[0].seed}: no run with these settings at σ = {', '.join(lacking)}."
            )
    if not found:
        raise InputError(" ".join(["cascade: no method has counts at all of its levels.", *left_out[:1]]))
    return found, [*about_cascades(found), *left_out]


def cascade_id(runs: Sequence[str], taus: Sequence[float]) -> str:
    """`A@0.9+B`: run A with threshold 0.9, then run B."""
    before = [f"{run}@{tau:g}" for run, tau in zip(runs[:-1], taus, strict=True)]
    return "+".join([*before, runs[-1]])


def split_id(name: str) -> tuple[list[str], list[float]]:
    """The runs and thresholds of `A@0.9+B`; raises InputError where a threshold is missing or no number."""
    *before, last = name.split("+")
    runs, taus = [], []
    for part in before:
        run, _, tau = part.rpartition("@")
        try:
            taus.append(float(tau))
        except ValueError as error:
            raise InputError(
                f"'{name}': '{part}' has no threshold. A cascade is written RUN@τ+RUN, such as {part.strip('@')}@0.9+{last}."
            ) from error
        runs.append(run)
    return [*runs, last], taus


def about_cascades(found: Sequence[Measurement]) -> list[str]:
    """Notes for the readers of a table of cascades."""
    notes = [
        "A cascade is one classifier of its own: choose its levels, their order and τ without the images that it is reported on "
        '(with split = "val"), or it is tuned on the test set. Its alpha is that of all its levels together (change it with --alpha); '
        "--certificate is for the levels by themselves. Its clean accuracy isn't known: PREDICT is for one level.",
        *about_bounds(found),
    ]
    for row in found:
        if not row.complete:
            each = ", ".join(f"{one.images} at σ = {one.sigma:g}" for one in row.levels)
            notes.append(
                f"{row.name}, seed {row.seed}: over the {row.images} of {row.planned} images that all its levels have finished ({each})."
            )
    return notes


def about_bounds(found: Sequence[Measurement]) -> list[str]:
    """Note on levels that are certified with weaker bounds than the last level of a cascade; empty where there is none."""
    weaker = sorted({one.certificate for row in found for one in row.levels} - {RunnerUp.name})
    if not weaker:
        return []
    return [
        f"The last level of a cascade is certified with both bounds of '{RunnerUp.name}', its levels by themselves here with '{weaker[0]}': "
        f"part of a difference is that of the certificates. --certificate {RunnerUp.name} compares the classifiers alone."
    ]


def settings_key(row: Measurement, *, with_seed: bool = True) -> str:
    """Key that is equal for the levels of one cascade: data, method, settings that differ at one σ, and seed."""
    told = {key: value for key, value in row.varying.items() if key not in (BROKEN, "certification.sigma")}
    seed = [row.seed] if with_seed else []
    return json.dumps([data_of(row), row.method, *seed, told], sort_keys=True, default=str)


def one_of(rows: Sequence[Measurement]) -> Measurement | None:
    """The run of a level, of several the one that was trained at that σ; raises InputError where that leaves a choice."""
    own = [row for row in rows if row.trained_sigma == row.sigma] if len(rows) > 1 else rows
    if len(own or rows) > 1:
        raise InputError(
            f"cascade: several runs of {rows[0].method} could be the level σ = {rows[0].sigma:g}: {', '.join(row.run for row in rows)}. "
            "'rsctl compare' takes a cascade of chosen runs, as RUN@τ+RUN."
        )
    return next(iter(own), None)


def require_same_images(levels: Sequence[Measurement]) -> None:
    """Raises RefusedError, with the key that differs, unless the tables are of the same images, noise and level of error."""
    first, *others = levels
    for other in others:
        for key, mine, its in _differing(first, other):
            raise RefusedError(
                f"a cascade needs the same {key} at every level: {first.run} has {plain(mine)}, {other.run} has {plain(its)}."
            )


def _differing(first: Measurement, other: Measurement) -> list[tuple[str, Any, Any]]:
    a, b = (one.table_spec for one in (first, other))
    pairs: list[tuple[str, Any, Any]] = [
        (key, getattr(a, field), getattr(b, field)) for field, key in _SHARED.items()
    ]
    pairs += [
        ("parameters of the dataset", a.dataset_parameters, b.dataset_parameters),
        ("files of the dataset (fingerprint)", a.data, b.data),
        ("alpha", first.alpha, other.alpha),
        ("choice of images", _choice(first), _choice(other)),
    ]  # fmt: skip
    counts = [one.counts for one in (first, other) if one.images]
    if len(counts) == 2 and counts[0] is not None and counts[1] is not None:
        pairs.append(("number of classes", counts[0].shape[1], counts[1].shape[1]))
    return [(key, mine, its) for key, mine, its in pairs if mine != its]


def _choice(row: Measurement) -> str:
    return f"{row.planned} images ({row.subset}, {row.subset_key})"


def require_same_labels(levels: Sequence[Measurement], labels: Sequence[Any]) -> None:
    positions = common_images(levels)
    for one, its in zip(levels[1:], labels[1:], strict=True):
        if len(differing := np.flatnonzero(labels[0] != its)):
            i = differing[0]
            raise RefusedError(
                f"a cascade needs the same label at every level: of image {positions[i]} {levels[0].run} has {labels[0][i]}, {one.run} has {its[i]}."
            )


def _verdict(levels: Sequence[Measurement]) -> Verdict | None:
    """The verdicts on its levels, each with its σ."""
    found = [(f"at σ = {one.sigma:g}", one.degenerate) for one in levels if one.degenerate]
    if not found:
        return None
    return Verdict(
        ", ".join(f"{one.mark} {level}" for level, one in found),
        "; ".join(f"{level} {one.text}" for level, one in found),
    )
