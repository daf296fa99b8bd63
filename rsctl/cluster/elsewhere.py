"""Tasks of sweeps that run on another machine, as they were when their sweeps were pulled."""

from __future__ import annotations

from collections.abc import Iterable

from rsctl.cluster.backend import BackendState
from rsctl.plan.tasks import Task
from rsctl.store.layout import Store
from rsctl.store.pulled import pulled_sweeps


def poll_pulled(store: Store, tasks: Iterable[Task]) -> dict[str, BackendState]:
    """Return the states of those tasks that a pulled sweep has, by key; no request is made to the other machine."""
    known = {
        key: BackendState(
            one["state"],
            one["reason"],
            one["node"] or record["remote"],
            record["time"],
            one["done"],
            one["total"],
        )
        for record in pulled_sweeps(store).values()
        for key, one in record["tasks"].items()
    }
    return {task.key: known[task.key] for task in tasks if task.key in known} if known else {}
