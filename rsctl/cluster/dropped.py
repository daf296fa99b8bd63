"""Open tasks that no sweep wants any more: an update dropped them, their sweep was pruned, or somebody started them by hand."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection
from pathlib import Path

from rsctl.cluster import control
from rsctl.cluster.control import Submitted, TaskStatus, statuses, sweep_tasks
from rsctl.cluster.everywhere import Everywhere
from rsctl.cluster.processes import task_processes
from rsctl.cluster.requests import all_queues, task_of
from rsctl.cluster.slurm_submissions import handed_over
from rsctl.errors import UserError
from rsctl.plan.tasks import Task
from rsctl.spec.settings import Place
from rsctl.store.attempts import State
from rsctl.store.layout import Store

OPEN = (State.WAITING, State.QUEUED, State.RUNNING, State.UNKNOWN)


def wanted_keys(store: Store) -> set[str]:
    """Keys of the tasks that some sweep wants; a sweep that can't be read is passed over, for others name it."""
    found: set[str] = set()
    for name in store.sweep_names():
        with contextlib.suppress(UserError, KeyError, TypeError):
            found.update(task.key for task in sweep_tasks(store, name))
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
    before = wanted_keys(store) if update else set()
    done = control.submit(file, place, cluster, update=update)
    gone = before - wanted_keys(store) if update else set()
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
