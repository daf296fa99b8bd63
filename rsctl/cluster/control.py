"""Operations on sweeps for the command line and the dashboard: submit, status, cancel."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rsctl.cluster.all_backends import AllBackends
from rsctl.cluster.backend import Backend
from rsctl.cluster.local.backend import LocalBackend, of_others
from rsctl.cluster.local.requests import own_queue
from rsctl.cluster.slurm.backend import SlurmBackend
from rsctl.cluster.slurm.submissions import submitters
from rsctl.cluster.task_status import TaskStatus, statuses
from rsctl.config.settings import LocalProfile, Place
from rsctl.errors import InputError
from rsctl.plan.tasks import Request, Task
from rsctl.store.attempts import State
from rsctl.store.layout import Store
from rsctl.store.plan_fields import PlanRecord
from rsctl.store.pulled import require_own

if TYPE_CHECKING:
    # Planning needs numpy, scipy and h5py; task status doesn't, and must be fast.
    from rsctl.plan.commit import Committed
    from rsctl.plan.plan import Plan


@dataclass(frozen=True)
class Submitted:
    """The result of submitting a sweep."""

    plan: Plan
    committed: Committed
    added: int
    held_back: int
    """Tasks that the cluster has no room for at present."""


def backend_of(place: Place, cluster: str) -> Backend:
    """Return the backend of a profile of rsctl.toml."""
    profile = place.settings.profile(cluster)
    if isinstance(profile, LocalProfile):
        return LocalBackend(cluster, profile, Store(place.store))
    return SlurmBackend(cluster, profile, Store(place.store))


def plan_file(file: Path, place: Place) -> Plan:
    """Read and plan a sweep file; nothing is written."""
    from rsctl.config.sweep import load_sweep
    from rsctl.plan.plan import make_plan
    from rsctl.plan.unreadable import require_readable

    store = Store(place.store)
    plan = make_plan(load_sweep(file, place.data, store.planned), str(file), store)
    try:
        place.settings.profile(plan.sweep.cluster)
    except InputError as error:
        raise InputError(f"{file}: {error}") from error
    require_readable(plan, place)
    return plan


def submit(
    file: Path, place: Place, cluster: str = "", *, update: bool = False, of: Collection[str] | None = ()
) -> Submitted:
    """Plan a sweep, write it to the store and submit every task that isn't done. Repeated, it resumes.

    An update changes a sweep of another user only if they are among `of`; None permits it for all.
    """
    from rsctl.plan.commit import commit, save_sweep_file
    from rsctl.plan.damaged import set_damaged_aside
    from rsctl.plan.notes import warnings_of

    plan = plan_file(file, place)
    require_own(Store(place.store), [plan.sweep.name], "submit", shlex.quote(str(file)))
    plan.sweep = replace(plan.sweep, cluster=cluster or plan.sweep.cluster)
    backend = backend_of(place, plan.sweep.cluster)
    aside = set_damaged_aside(Store(place.store), plan)
    committed = commit(plan, place, update=update, of=of)
    committed.notes[:0] = aside
    save_sweep_file(place, plan.sweep.name, file)
    result = backend.submit(_not_busy_elsewhere(committed.requests, backend, place))
    if committed.requests:
        committed.notes.extend(f"note: {note}" for note in warnings_of(plan, place))
    committed.notes.extend([result.note] if result.note else [])
    return Submitted(plan, committed, result.added, len(result.held_back))


def _not_busy_elsewhere(requests: list[Request], backend: Backend, place: Place) -> list[Request]:
    """Drop the requests whose tasks another kind of backend is running."""
    backends = AllBackends(place)
    other = backends.slurm if isinstance(backend, LocalBackend) else backends.local
    seen = other.poll([request.task for request in requests])
    busy = (State.WAITING, State.QUEUED, State.RUNNING)
    return [r for r in requests if not (r.task.key in seen and seen[r.task.key].state in busy)]


def sweep_tasks(store: Store, name: str) -> list[Task]:
    """Return the distinct tasks of a sweep; a model comes after the models that it needs, tables come last."""
    entries = store.sweep(name, numbers=False)["entries"]
    names = [name for entry in entries for name in entry.models]
    models = {name: Task(store.model(name), 0) for name in names}
    runs = {entry.key: store.run(entry.kind, entry.run) for entry in entries}
    tables = {(run, n): Task(run, n) for entry in entries for run in [runs[entry.key]] for n in entry.tasks}
    return [*models.values(), *tables.values()]


def sweep_statuses(place: Place, name: str) -> dict[str, TaskStatus]:
    """Return the states of a sweep's tasks by task key."""
    store = Store(place.store)
    return statuses(sweep_tasks(store, name), AllBackends(place))


def cluster_of(place: Place, sweep: PlanRecord) -> str:
    """Return the profile that a sweep was last submitted to; `local` if rsctl.toml no longer has it."""
    name = str(sweep.get("cluster", "local"))
    return name if name in place.settings.everywhere else "local"


def revive_queue(place: Place, name: str) -> None:
    """Restart the local queue if it was killed while tasks of this sweep were waiting."""
    backend = backend_of(place, cluster_of(place, Store(place.store).sweep(name)))
    if isinstance(backend, LocalBackend):
        backend.revive()


def named_tasks(place: Place, names: list[str]) -> list[Task]:
    """Return the tasks of sweeps and runs given by name; `RUN/N` is one task of a run."""
    store = Store(place.store)
    found: dict[str, Task] = {}
    for name in names:
        if name in store.sweep_names():
            tasks = sweep_tasks(store, name)
        else:
            run_name, _, number = name.rpartition("/") if re.fullmatch(r".+/\d+", name) else (name, "", "")
            run = store.find_run(run_name)
            tasks = [Task(run, n) for n in run.task_numbers() if number in ("", str(n))]
            if not tasks:
                run.require_task(int(number or 0))
        found |= {task.key: task for task in tasks}
    return list(found.values())


def held_by_others(store: Store, tasks: list[Task]) -> dict[str, str]:
    """Return the names of the other users who submitted or run these tasks, by key, on this machine or on SLURM."""
    ours = own_queue(store).wanted()
    slurm = submitters(task for task in tasks if task.key not in ours)
    return {**slurm, **of_others(store, tasks)}


def cancel(place: Place, names: list[str]) -> tuple[list[Task], dict[str, str]]:
    """Cancel this user's unfinished tasks among these sweeps, runs and tasks. Results so far are kept.

    Returns the tasks that were cancelled, and the names of the users whose tasks were not, by task key.
    """
    require_own(Store(place.store), names, "cancel")
    backend = AllBackends(place)
    open_tasks = [s.task for s in statuses(named_tasks(place, names), backend).values() if s.state.is_open]
    others = held_by_others(Store(place.store), open_tasks)
    mine = [task for task in open_tasks if task.key not in others]
    backend.cancel(mine)
    return mine, others
