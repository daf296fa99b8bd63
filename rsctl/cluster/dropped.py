"""Unfinished tasks that no sweep needs any more: an update dropped them, or their sweep was deleted."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from rsctl.cluster import control
from rsctl.cluster.all_backends import AllBackends
from rsctl.cluster.control import Submitted, sweep_tasks
from rsctl.cluster.local.processes import task_processes
from rsctl.cluster.local.requests import all_queues, task_of
from rsctl.cluster.slurm.submissions import submitted_keys
from rsctl.cluster.task_status import TaskStatus, statuses
from rsctl.config.settings import Place
from rsctl.errors import InputError, UserError
from rsctl.plan.tasks import Task
from rsctl.store.attempts import State
from rsctl.store.layout import Store, is_key


def wanted_keys(store: Store) -> set[str]:
    """Return the keys of the tasks that some sweep needs.

    Raises InputError for an unreadable sweep: its tasks must not count as dropped.
    """
    found: set[str] = set()
    for name in store.sweep_names():
        try:
            found.update(task.key for task in sweep_tasks(store, name))
        except UserError as error:
            raise InputError(
                f"can't tell which tasks no sweep needs, because sweep '{name}' can't be read: {error}"
            ) from error
    return found


def held_keys(store: Store) -> set[str]:
    """Return the keys of the tasks held by a local queue or a process of this machine, or ever submitted to SLURM.

    Call it before `wanted_keys`: a task is submitted only after its sweep's plan is written.
    """
    found = {key for queue in all_queues(store) for key in queue.wanted()}
    return found | {key for key in task_processes(store) if is_key(key)} | submitted_keys(store)


def dropped_tasks(place: Place, candidates: Collection[str] | None = None) -> list[TaskStatus]:
    """Return the store's unfinished tasks that no sweep needs, by key; `candidates` are the held and unneeded ones, if known.

    SLURM is queried only for tasks whose files record no end.
    """
    store = Store(place.store)
    if candidates is None:
        candidates = held_keys(store)
        candidates -= wanted_keys(store)
    return _open(place, [task_of(store, key) for key in sorted(candidates)])


def submit(
    file: Path, place: Place, cluster: str = "", *, update: bool = False, of: Collection[str] | None = ()
) -> tuple[Submitted, list[TaskStatus]]:
    """Submit a sweep file; also return the unfinished tasks that its update dropped and no sweep needs. They keep running."""
    store = Store(place.store)
    if not update:
        return control.submit(file, place, cluster), []
    try:
        before, unknown = wanted_keys(store), ""
    except InputError as error:
        before, unknown = set(), str(error)
    done = control.submit(file, place, cluster, update=True, of=of)
    if unknown:
        done.committed.notes.append(f"note: {unknown}")
        return done, []
    gone = before - wanted_keys(store)
    return done, _open(place, [task_of(store, key) for key in sorted(gone)])


def stop(place: Place, found: list[TaskStatus]) -> list[TaskStatus]:
    """Cancel these tasks; returns those of other users, or that can't be reached from here, which keep running. Results so far
    are kept."""
    others = control.held_by_others(Store(place.store), [status.task for status in found])
    AllBackends(place).cancel([status.task for status in found if status.task.key not in others])
    left = [
        replace(status, reason=f"user {user} submitted it, and only they can cancel it")
        for status in found
        if (user := others.get(status.task.key)) and status.state != State.UNKNOWN
    ]
    unknown = [status.task for status in found if status.state == State.UNKNOWN]
    return left + [status for status in _open(place, unknown) if status.state == State.UNKNOWN]


def _open(place: Place, tasks: list[Task]) -> list[TaskStatus]:
    there = [task for task in tasks if os.path.isdir(task.run.path)]
    if not there:
        return []
    return [status for status in statuses(there, AllBackends(place)).values() if status.state.is_open]
