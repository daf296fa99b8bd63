"""Checks that the cascades of a package are those of its sweep file, and that their choice is recorded."""

from __future__ import annotations

from pydantic import ValidationError

from rsctl.config.cascade_runs import Candidate
from rsctl.config.cascades import CascadeTable
from rsctl.package.consistency import Discrepancy
from rsctl.results.sweep import Results
from rsctl.store.layout import Store
from rsctl.store.plan_fields import CascadeEntry

PLAN_MEMBER = "sweep/plan.json"


def check_cascades(store: Store, sweep: str) -> list[Discrepancy]:
    """The cascades of the plan that no `[[cascade]]` of the sweep's values describes."""
    plan = store.sweep(sweep)
    raw = plan["raw"].get("cascade", [])
    try:
        tables = [CascadeTable.model_validate(one) for one in (raw if isinstance(raw, list) else [raw])]
    except ValidationError:
        return [Discrepancy(PLAN_MEMBER, "its values of [[cascade]] can't be read.")]
    return [
        Discrepancy(
            PLAN_MEMBER,
            f"the cascade {one.id} isn't one of its [[cascade]] tables: levels, tau or tuned differ.",
        )
        for one in plan.get("cascades", [])
        if not any(_describes(table, one, store) for table in tables)
    ]


def _describes(table: CascadeTable, cascade: CascadeEntry, store: Store) -> bool:
    tuned = table.tuned.model_dump() if table.tuned else None
    if (list(table.taus), tuned, len(table.levels)) != (cascade.taus, cascade.tuned, len(cascade.levels)):
        return False
    for level, entry in zip(table.levels, cascade.levels, strict=True):
        run = store.run(entry.kind, entry.run)
        train = store.model(entry.model).train_spec
        if level.run is not None and run.count_spec.needed:
            # The table names the run in whose place it is sampled, of the same model.
            level = level.model_copy(update={"run": level.run[: len(entry.model)]})
        if not Candidate(
            run.id, train, run.count_spec, "", entry.alpha or 0.0, entry, level.sweep or ""
        ).fits(level):
            return False
    return True


def about_untuned(results: Results) -> list[str]:
    """Remarks on cascades whose choice nothing in the package records."""
    return list(
        dict.fromkeys(
            f"Nothing in the package states how the levels and τ of the cascade {row.name} were chosen: they may be tuned on these images."
            for row in results.cascades
            if row.tuning is None
        )
    )
