"""Open tasks that no sweep wants any more: an update dropped them, or their sweep was given up."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from rsctl.cluster import control
from rsctl.cluster.control import Submitted, TaskStatus, statuses, sweep_tasks
from rsctl.cluster.everywhere import Everywhere
from rsctl.cluster.processes import task_processes
from rsctl.cluster.requests import all_queues, task_of
from rsctl.cluster.slurm_submissions import handed_over
from rsctl.errors import InputError, UserError
from rsctl.plan.tasks import Task
from rsctl.spec.settings import Place
from rsctl.store.attempts import State
from rsctl.store.layout import Store

OPEN = (State.WAITING, State.QUEUED, State.RUNNING, State.UNKNOWN)


def wanted_keys(store: Store) -> set[str]:
    """Keys of the tasks that some sweep wants.

    Raises InputError for a sweep that can't be read: its tasks must not pass for unwanted ones.
    """
    found: set[str] = set()
    for name in store.sweep_names():
        try:
            found.update(task.key for task in sweep_tasks(store, name))
        except (UserError, KeyError, TypeError) as error:
            raise InputError(
                f"sweep '{name}' can't be read ({error}), so which tasks no sweep wants isn't known. Restore its plan, or give it up "
                f"with 'rsctl prune {name}'."
            ) from error
    return found


def dropped_tasks(place: Place, wanted: Collection[str] | None = None) -> list[TaskStatus]:
    """The open tasks of the store that no sweep wants, by key; `wanted` saves reading the sweeps again.

    Every task that a local queue, a process of this machine or a SLURM job holds is looked at. SLURM is asked only where
    files don't say that such a task has ended.
    """
    store = Store(place.store)
    held = {key for queue in all_queues(store) for key in queue.wanted()}
    held |= task_processes(store).keys() | handed_over(store)
    candidates = held - set(wanted_keys(store) if wanted is None else wanted)
    return _open(place, [task_of(store, key) for key in sorted(candidates)])


def submit(
    file: Path, place: Place, cluster: str = "", *, update: bool = False
) -> tuple[Submitted, list[TaskStatus]]:
    """Submit a sweep file; also the open tasks that its update dropped and that no sweep wants any more. They go on."""
    store = Store(place.store)
    if not update:
        return control.submit(file, place, cluster), []
    try:
        before, unknown = wanted_keys(store), ""
    except InputError as error:
        before, unknown = set(), str(error)
    done = control.submit(file, place, cluster, update=True)
    if unknown:
        done.committed.notes.append(f"note: {unknown}")
        return done, []
    gone = before - wanted_keys(store)
    return done, _open(place, [task_of(store, key) for key in sorted(gone)])


def cancel(place: Place) -> list[Task]:
    """Stop all of them; returns them. What they have sampled stays."""
    tasks = [status.task for status in dropped_tasks(place)]
    Everywhere(place).cancel(tasks)
    return tasks


def _open(place: Place, tasks: list[Task]) -> list[TaskStatus]:
    there = [task for task in tasks if os.path.isdir(task.run.path)]
    if not there:
        return []
    return [status for status in statuses(there, Everywhere(place)).values() if status.state in OPEN]
