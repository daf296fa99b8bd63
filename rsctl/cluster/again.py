"""Tasks of a sweep that are handed over later or anew: what failed, was lost or cancelled, or had no room."""

from __future__ import annotations

from typing import Any

from rsctl.cluster.control import TaskStatus, backend_of, cluster_of, sweep_statuses
from rsctl.errors import UnavailableError
from rsctl.plan.tasks import Request, Task
from rsctl.spec.sections import StageResources
from rsctl.spec.settings import Place
from rsctl.store.attempts import State
from rsctl.store.layout import Store
from rsctl.store.provenance import snapshot_code


def retry(
    place: Place, name: str, *, minutes: int | None = None, memory_gb: float | None = None
) -> tuple[list[Task], str]:
    """Start again what failed, was lost or was cancelled; returns those tasks, and a note where the cluster is full.

    `minutes` and `memory_gb` replace the limits of these tasks, after a TIMEOUT or an OUT_OF_MEMORY.
    """
    store = Store(place.store)
    sweep = store.sweep(name)
    again = (State.FAILED, State.LOST, State.CANCELLED, State.NEW)
    found = [status for status in sweep_statuses(place, name).values() if status.state in again]
    limits = {"minutes": minutes, "memory_gb": memory_gb}
    # A retry after a fix runs the fixed code.
    changed: dict[str, Any] = {"code": snapshot_code(store.root)}
    changed |= {key: value for key, value in limits.items() if value is not None}
    handed = backend_of(place, cluster_of(place, sweep)).submit(_requests(store, sweep, found, changed))
    held_back = {task.key for task in handed.held_back}
    return [status.task for status in found if status.task.key not in held_back], handed.note


def hand_over_rest(place: Place, name: str) -> str:
    """Hand over what the cluster had no room for; returns why some tasks still wait, empty if none does.

    A task whose model has failed waits for nothing.
    """
    store = Store(place.store)
    sweep, found = store.sweep(name), sweep_statuses(place, name)
    new = [status for status in found.values() if status.state == State.NEW]
    lost = (State.FAILED, State.CANCELLED, State.LOST)
    ready = [
        request
        for request in _requests(store, sweep, new, {})
        if not any(found[need.key].state in lost for need in request.needs)
    ]
    if not ready:
        return ""
    try:
        return backend_of(place, cluster_of(place, sweep)).submit(ready).note
    except UnavailableError as error:
        return str(error)


def _requests(
    store: Store, sweep: dict[str, Any], found: list[TaskStatus], changed: dict[str, Any]
) -> list[Request]:
    """What a backend needs to take these tasks, with some values of their launch files replaced."""
    model_of = {entry["run"]: entry["model"] for entry in sweep["entries"]}
    return [_request(store, status, model_of, changed) for status in found]


def _request(store: Store, status: TaskStatus, model_of: dict[str, str], changed: dict[str, Any]) -> Request:
    run = status.task.run
    launch = {**run.launch(), **changed}
    if changed:
        run.write_launch(launch)
    missing = run.train_spec.needs if run.kind == "models" else [model_of[run.id]]
    needs = tuple(Task(store.run("models", name), 0) for name in missing)
    known = {key: value for key, value in launch.items() if key in StageResources.model_fields}
    return Request(status.task, needs, StageResources(**known), launch["code"], after=status.attempt)
