"""Estimates the memory of a plan's tasks from measurements of such tasks, else from the size of their images."""

from __future__ import annotations

from rsctl.catalog import known_datasets
from rsctl.catalog.declare import HELD_MOST, HELD_SHARE
from rsctl.plan.cost import Key, Throughput, table_work, training_key
from rsctl.plan.plan import Plan
from rsctl.store.run_kinds import RunKind

PYTHON = 1.0
"""GB of a process with its libraries and a small network loaded."""
MARGIN = 1.25
"""Safety factor on a peak that was measured once."""


def estimate_memory(plan: Plan, measured: dict[Key, Throughput]) -> dict[str, float]:
    """Estimate GB of host memory per task of each model and table that isn't imported, by `models/<id>` and `counts/<id>`."""
    found = {}
    for name, model in plan.models.items():
        processes = model.resources.processes // model.resources.nodes or 1
        images = round(model.images / (1 - model.spec.holdout))
        keys = [training_key(model.spec)]
        found[f"{RunKind.MODELS}/{name}"] = _task(
            keys, measured, model.spec.dataset, images * model.pixels, processes
        )
    for key, table in plan.tables.items():
        keys = [kind for kind, _ in table_work(plan.models[table.spec.model_run].spec, table.spec)]
        images = -(-len(table.images) // table.shards)
        found[key] = _task(keys, measured, table.spec.dataset, images * table.pixels, 1)
    return found


def _task(keys: list[Key], measured: dict[Key, Throughput], dataset: str, size: int, processes: int) -> float:
    declared = known_datasets().get(dataset)
    held = size / 2**30 if declared and declared.in_memory and size <= HELD_MOST else 0.0
    peak = max((measured[key].memory_gb * MARGIN for key in keys if key in measured), default=0.0)
    return round(processes * max(peak, PYTHON + held, held / HELD_SHARE), 1)


def memory_text(reckoned: dict[str, float]) -> str:
    """Format the largest task of each stage."""
    largest: dict[str, float] = {}
    for key, amount in reckoned.items():
        kind = key.partition("/")[0]
        largest[kind] = max(amount, largest.get(kind, 0.0))
    parts = [f"{amount:g} GB for {RunKind(kind).stage}" for kind, amount in largest.items()]
    return f"at least {', '.join(parts)} per task, without device memory"
