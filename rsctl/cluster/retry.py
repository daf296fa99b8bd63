"""Resubmission of tasks: those that failed, were lost or cancelled, and those held back because the cluster was full."""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from pathlib import Path
from typing import Any

from rsctl.catalog.presence import lies_below
from rsctl.cluster.control import backend_of, cluster_of, named_tasks, sweep_statuses, sweep_tasks
from rsctl.cluster.task_status import TaskStatus, owner_of_attempt
from rsctl.config.sections import StageResources
from rsctl.config.settings import Place
from rsctl.errors import RefusedError, UnavailableError, UserError
from rsctl.owners import check_owner, require_named
from rsctl.plan.tasks import Request, Task
from rsctl.store.attempts import State
from rsctl.store.layout import Store
from rsctl.store.provenance import snapshot_code
from rsctl.store.pulled import require_own
from rsctl.store.received import received, require_extendable
from rsctl.store.sharing import owner_of_sweep
from rsctl.store.trust import check_run

RETRIED = (State.FAILED, State.LOST, State.CANCELLED, State.NEW)


def retry(
    place: Place,
    name: str,
    *,
    minutes: int | None = None,
    memory_gb: float | None = None,
    of: Collection[str] | None = (),
) -> tuple[list[Task], str]:
    """Restart tasks that failed, were lost or were cancelled; returns them, and a note if the cluster is full.

    `name` is a sweep, a run, or `RUN/N` for one task; with a table's task goes what it needs of the training of its
    model, and of earlier levels of its cascade. `minutes` and `memory_gb` replace the limits of these tasks, after a TIMEOUT or an
    OUT_OF_MEMORY. Another user's sweep and tasks are restarted only if they are among `of`; None permits it for all.
    """
    store = Store(place.store)
    require_own(store, [name], "retry")
    if name in store.sweep_names():
        sweep, only = name, None
    else:
        named = named_tasks(place, [name])
        sweep, only = _sweep_of(store, named, name), _with_needs(named)
    found = [
        status
        for status in sweep_statuses(place, sweep).values()
        if status.state in RETRIED and (only is None or status.task.key in only)
    ]
    found = _without_received(store, found)
    limits = {"minutes": minutes, "memory_gb": memory_gb}
    plan = store.sweep(sweep)
    group = place.settings.profile(cluster_of(place, plan)).of_group
    check_owner(store.sweep_folder(sweep) / "plan.json", store.root, group=group)
    for run in {status.task.run for status in found}:
        check_run(run, group=group)
    require_named(name, [owner_of_sweep(store, sweep), *map(owner_of_attempt, found)], of)
    # A retry after a fix runs the fixed code.
    changed: dict[str, Any] = {"code": snapshot_code(store.root, group=group)}
    changed |= {key: value for key, value in limits.items() if value is not None}
    requests = _requests(found, changed, place.data)
    result = backend_of(place, cluster_of(place, plan)).submit(requests)
    held_back = {task.key for task in result.held_back}
    return [status.task for status in found if status.task.key not in held_back], result.note


def _without_received(store: Store, found: list[TaskStatus]) -> list[TaskStatus]:
    """Drop the tasks of received runs; raises RefusedError if none remains, or if one needs a model received without weights."""
    own = [status for status in found if not received(status.task.run.path)]
    for status in own or found:
        run = status.task.run
        needs = (run.table_spec if run.kind.is_table else run.train_spec).needs
        require_extendable(run, map(store.model, needs))
    return own


def _sweep_of(store: Store, tasks: list[Task], name: str) -> str:
    """Return the sweep that needs most of these tasks, the last submitted on a tie; raises RefusedError if none needs any."""
    keys, wanted = {task.key for task in tasks}, {}
    for sweep in store.sweep_names():
        with contextlib.suppress(UserError):  # an unreadable one can't start anything
            wanted[sweep] = sum(task.key in keys for task in sweep_tasks(store, sweep))
    if not any(wanted.values()):
        raise RefusedError(f"{name}: no sweep needs it. Submit a sweep file that includes it.")
    return max(wanted, key=lambda sweep: wanted[sweep])


def _with_needs(tasks: list[Task]) -> set[str]:
    """Return the keys of these tasks and of the tasks that they depend on."""
    found: set[str] = set()
    while tasks:
        found |= {task.key for task in tasks}
        needs = {need.key: need for task in tasks for need in task.needs}
        tasks = [need for key, need in needs.items() if key not in found]
    return found


def submit_held_back(place: Place, name: str) -> str:
    """Submit the tasks held back earlier; returns the reason why some are still held back, else empty.

    Tasks that need a failed one are left out.
    """
    store = Store(place.store)
    sweep, found = store.sweep(name), sweep_statuses(place, name)
    new = [
        status
        for status in found.values()
        if status.state == State.NEW and not received(status.task.run.path)
    ]
    lost = (State.FAILED, State.CANCELLED, State.LOST)
    ready = [
        request
        for request in _requests(new, {})
        if not any(need.key in found and found[need.key].state in lost for need in request.needs)
    ]
    if not ready:
        return ""
    try:
        return backend_of(place, cluster_of(place, sweep)).submit(ready).note
    except UnavailableError as error:
        return str(error)


def _requests(
    found: list[TaskStatus],
    changed: dict[str, Any],
    data_root: Path | None = None,
) -> list[Request]:
    """Build the requests for these tasks, with some values of their launch files replaced, and with another data root where
    their data set lies below it."""
    return [_request(status, changed, data_root) for status in found]


def _request(
    status: TaskStatus,
    changed: dict[str, Any],
    data_root: Path | None,
) -> Request:
    run = status.task.run
    launch = {**run.launch(), **changed}
    dataset = (run.table_spec if run.kind.is_table else run.train_spec).dataset
    if data_root is not None and lies_below(data_root, dataset, launch["dataset_parameters"]):
        launch["data"] = str(data_root)
    if changed:
        run.write_launch(launch)
    known = {key: value for key, value in launch.items() if key in StageResources.model_fields}
    return Request(
        status.task, status.task.needs, StageResources(**known), launch["code"], after=status.attempt
    )
