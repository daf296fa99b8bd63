"""The origin of a cascade's levels and thresholds: those chosen by the images of a table are marked in it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from rsctl.certificates.cascade import Cascade
from rsctl.certificates.protocol import Guarantee
from rsctl.results.measurement import Measurement
from rsctl.results.notes import data_of
from rsctl.results.rounding import arrows
from rsctl.store.layout import Store
from rsctl.store.tuned import TunedRecord, Tuning, every_tuned, noise_key_of


def mark_tuned(store: Store, cascades: Sequence[Measurement]) -> list[Measurement]:
    """The same cascades with the origin of those that `rsctl tune` chose in this store, or that their sweep file states.

    One that the draws of its own levels chose loses its guarantee: alpha is that of a classifier fixed before the draws. So does one
    that its sweep file calls chosen on such images, where nothing records by which draws.
    """
    known = list(every_tuned(store)) if cascades else []
    found = []
    for row in cascades:
        origins = [
            _origin(row, sweep, one)
            for sweep, one in known
            if one["taus"] == list(row.taus) and one["levels"] == [level.sigma for level in row.levels]
        ]
        own_draws = any(origin.own_draws for origin in origins)
        if (stated := row.tuning) and stated.sweep not in {origin.sweep for origin in origins}:
            origins.append(stated)
        # The images of the table matter most: a cascade may have been chosen on several sets of images.
        origins.sort(key=lambda origin: not origin.here)
        found.append(_of_origin(row, origins[0], own_draws=own_draws) if origins else row)
    return found


def _origin(row: Measurement, sweep: str, one: TunedRecord) -> Tuning:
    """The origin of a cascade as a record has it; draws are the same only on images that both have."""
    common = bool(np.isin(row.index, one["images"]).any())
    own_draws = any(
        level.run in one["runs"] or noise_key_of(level.table_spec) in one.get("noise", [])
        for level in row.levels
    )
    return Tuning(
        sweep, one["split"], len(one["images"]), one["objective"],
        here=common and _without_share(one["data"]) == _without_share(data_of(row)), own_draws=common and own_draws,
    )  # fmt: skip


def _without_share(data: str) -> str:
    """Key of the data without the held-out share: with every share positions are those of the training split."""
    try:
        dataset, parameters, files, split, _, *tested = json.loads(data)
    except (ValueError, TypeError, RecursionError):
        return data
    return json.dumps([dataset, parameters, files, split, *tested])


def _of_origin(row: Measurement, origin: Tuning, *, own_draws: bool) -> Measurement:
    origin = replace(origin, own_draws=origin.own_draws or own_draws)
    row = replace(row, tuning=origin)
    if not origin.own_draws:
        return row
    rule = Cascade(tuple(one.sigma for one in row.levels), tuple(row.taus), row.level_names)
    remark = "chosen by these draws" if own_draws else "perhaps chosen by these draws"
    told = Guarantee("heuristic", rule.guarantee.classifier, remark=remark)
    return replace(row, failure=None, guarantee=told.label(row.alpha or 0.0, row.arithmetic))


def about_tuned(cascades: Sequence[Measurement]) -> list[str]:
    """Notes on the origin of levels and thresholds, for the readers of a table."""
    notes = []
    for row in cascades:
        if origin := row.tuning:
            about = (
                "with which this table is made: its numbers are those of a choice, not a test result"
                if origin.here
                else "none of which is in this table"
            )
            notes.append(
                f"The cascade σ = {row.sigmas}, τ = {arrows(row.taus)} was chosen on {origin.images} {origin.split} images of the "
                f"sweep '{origin.sweep}' for the {origin.objective}, {about}."
            )
    return list(dict.fromkeys(notes))
