"""Runs of other sweeps that contradict certificates of a sweep: its package holds them, too."""

from __future__ import annotations

from rsctl.errors import UserError
from rsctl.results.contradictions import Contradiction
from rsctl.results.sweep import sweep_results
from rsctl.store.layout import Store
from rsctl.store.run_kinds import RunKind


def contradicting(store: Store, sweep: str) -> list[tuple[RunKind, str]]:
    """Kind and id of the runs that found, or certified, what the sweep's tables report as contradicted, and their models."""
    try:
        broken = sweep_results(store, sweep).broken
    except UserError:
        return []  # packing reports what can't be read
    named = [name for one in broken for name in _runs(one)]
    found = [(RunKind(kind), run) for kind, _, run in (name.partition("/") for name in dict.fromkeys(named))]
    models = [model for kind, run in found for model in store.run(kind, run).table_spec.needs]
    return [*((RunKind.MODELS, model) for model in dict.fromkeys(models)), *found]


def _runs(one: Contradiction) -> list[str]:
    """`kind/run` of both sides; a cascade's levels are in the package."""
    return [
        name for name in (one.found_by, one.certified_by) if name.partition("/")[0] in {*map(str, RunKind)}
    ]
