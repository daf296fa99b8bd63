"""The cascades of a sweep in its package, and the choices that they were made by."""

from __future__ import annotations

from typing import Any, cast

from rsctl.store.layout import Store
from rsctl.store.plan_fields import PlanRecord
from rsctl.store.tuned import TunedRecord, every_tuned


def cascade_values(plan: PlanRecord) -> dict[str, Any]:
    """The cascades of a plan as its record holds them; empty without any."""
    found = [one.values for one in plan.get("cascades", [])]
    return {"cascades": found} if found else {}


def choices_for(store: Store, sweep: str, plan: PlanRecord) -> list[TunedRecord]:
    """The choices by which the tables of a sweep mark its cascades, and those made on its own images or by counts of its runs."""
    runs = {entry.run for entry in plan["entries"]}
    cascades = [
        ([store.run(level.kind, level.run).count_spec.sigma for level in one.levels], one.taus)
        for one in plan.get("cascades", [])
        if all((store.run(level.kind, level.run).path / "spec.json").exists() for level in one.levels)
    ]
    return [
        one if name == sweep else cast("TunedRecord", {**one, "sweep": name})
        for name, one in every_tuned(store)
        if name == sweep or (one["levels"], one["taus"]) in cascades or runs.intersection(one["runs"])
    ]
