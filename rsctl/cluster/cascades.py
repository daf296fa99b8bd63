"""Progress of a sweep's cascades: the images that all their levels have finished."""

from __future__ import annotations

from typing import Any

from rsctl.config.cascades import cascade_title, saved_text, savings
from rsctl.errors import UserError
from rsctl.plain import plain
from rsctl.store.layout import Store
from rsctl.store.plan_fields import CascadeEntry, PlanEntry, PlanRecord
from rsctl.text import counted


def cascade_values(store: Store, plan: PlanRecord) -> list[dict[str, Any]]:
    """Return each cascade of a sweep as plain values; `images` is None where a level can't be read."""
    return [_values(store, one) for one in plan.get("cascades", [])]


def _values(store: Store, cascade: CascadeEntry) -> dict[str, Any]:
    values: dict[str, Any] = {
        "cascade": cascade.id, "title": cascade.id, "levels": [level.run for level in cascade.levels], "tau": cascade.taus,
        "images": None, "planned": cascade.levels[0].images["count"], "problem": "",
    }  # fmt: skip
    try:
        named = [
            (
                store.model(level.model).train_spec.method,
                store.run(level.kind, level.run).count_spec.sigma,
                sweep,
            )
            for level, sweep in zip(cascade.levels, cascade.sweeps, strict=True)
        ]
        values["title"] = cascade_title(named, cascade.taus)
        finished = [_finished(store, level) for level in cascade.levels]
        values["images"] = len(set.intersection(*(set(one) for one in finished)))
        specs = [store.run(level.kind, level.run).count_spec for level in cascade.levels]
        if any(spec.needed for spec in specs):
            left_out = [sum(not drawn for drawn in one.values()) for one in finished]
            values["saved"] = savings(list(zip(specs, map(len, finished), left_out, strict=True)))
    except UserError as error:
        values["problem"] = str(error)
    return values


def _finished(store: Store, level: PlanEntry) -> dict[int, bool]:
    """Return the images of a level that are finished, each with whether it was sampled."""
    # Both need numpy, which sweeps without cascades do without.
    from rsctl.config.permutation import chosen_by, images_of
    from rsctl.store.tables import read_table

    run = store.run(level.kind, level.run)
    spec = run.count_spec
    wanted = set(images_of(*chosen_by(level.images, spec.holdout, spec.seed)))
    rows = read_table(run).restrict(wanted).rows
    return dict(zip(rows.index.tolist(), rows.drawn.tolist(), strict=True))


def cascade_text(values: dict[str, Any]) -> str:
    """Format a cascade for a terminal."""
    share = (
        values["images"] / values["planned"] if values["images"] is not None and values["planned"] else 0.0
    )
    told = (
        f"{values['images']} of {counted(values['planned'], 'image')} that all levels have"
        if not values["problem"]
        else f"can't be read: {values['problem']}"
    )
    if "saved" in values:
        told += f"; {saved_text(**values['saved'])}"
    return f"  {share:4.0%}  cascade {plain(values['title'])}  {plain(told)}"
