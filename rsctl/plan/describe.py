"""What `rsctl check` says of a plan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rsctl.plan.cost import estimate
from rsctl.plan.plan import Plan
from rsctl.spec.settings import Place
from rsctl.store.layout import Store


@dataclass(frozen=True)
class Description:
    """The same facts for people and for scripts."""

    text: str
    values: dict[str, Any]


def describe(plan: Plan, place: Place) -> Description:
    """Runs, tasks and draws of a plan, and which runs the store has already."""
    store = Store(place.store)
    cost = estimate(plan, store)
    trained = [run_id for run_id in plan.models if store.run("models", run_id).model_file.exists()]
    tasks = sum(min(counts.shards, len(counts.images)) for counts in plan.counts.values())
    draws = sum(len(counts.images) * (counts.spec.n0 + counts.spec.n) for counts in plan.counts.values())
    images = sum(len(counts.images) for counts in plan.counts.values())
    sweep = plan.sweep
    lines = [
        f"{sweep.name}: valid. {len(plan.entries)} points → {len(plan.models)} models, {len(plan.counts)} count tables.",
        "",
        f"train    {len(plan.models)} tasks"
        + (f" ({len(trained)} models are there already)" if trained else ""),
        f"certify  {tasks} tasks, {images:,} images, {draws:,} draws",
        f"hours    {cost.text}",
        "",
    ]
    for entry in plan.entries:
        resolved = entry.resolved
        train, count = resolved.train, resolved.count
        lines.append(
            f"  {train.run_id}: {train.model} on {train.dataset}, {train.recipe.epochs} epochs, seed {train.seed}, {train.precision}; "
            f"{len(entry.images):,} {count.split} images, n = {count.n:,}, {', '.join(resolved.point.certification.certificates)}"
        )
    values = {
        "sweep": sweep.name,
        "points": len(plan.entries),
        "models": list(plan.models),
        "trained": trained,
        "counts": {
            run_id: {"images": len(c.images), "shards": min(c.shards, len(c.images))}
            for run_id, c in plan.counts.items()
        },
        "tasks": len(plan.models) + tasks,
        "draws": draws,
        "hours": None if cost.unknown else cost.hours,
    }
    return Description("\n".join(lines), values)
