"""Operations on sweeps for the command line and the dashboard: submit, status, cancel, logs."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rsctl.cluster.all_backends import Everywhere
from rsctl.cluster.backend import Backend, BackendState, Observer
from rsctl.cluster.local.backend import LocalBackend, of_others
from rsctl.cluster.slurm.backend import SlurmBackend
from rsctl.cluster.slurm.submissions import submissions
from rsctl.config.settings import LocalProfile, Place
from rsctl.errors import InputError, UserError
from rsctl.plan.tasks import Request, Task
from rsctl.regular import open_regular
from rsctl.store.attempts import Attempt, State, attempt_numbers, is_alive, read_attempt
from rsctl.store.degenerate import Verdict, of_folder, said
from rsctl.store.layout import Run, Store
from rsctl.store.run_kinds import RunKind
from rsctl.text import duration

if TYPE_CHECKING:
    # Planning needs numpy, scipy and h5py; task status doesn't, and must be fast.
    from rsctl.plan.commit import Committed
    from rsctl.plan.plan import Plan


LONGEST_LOG = 8 << 20
"""Bytes of a log that are printed: of a longer one only the end."""


@dataclass(frozen=True)
class TaskStatus:
    """The state of one task, as far as it is known."""

    task: Task
    state: State
    reason: str = ""
    node: str = ""
    attempt: int = 0
    done: float = 0.0
    total: float = 0.0
    unit: str = ""
    rate: float = 0.0
    updated: float = 0.0
    """Unix time of its last record; 0 if it has none."""
    again: float = 0.0
    """Work of a lost attempt that has to be redone, in its unit."""
    warning: str = ""
    """True if its run's network has learned nothing."""

    @property
    def progress(self) -> float:
        """Fraction done, in [0, 1]."""
        return 1.0 if self.state == State.DONE else min(1.0, self.done / self.total) if self.total else 0.0


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

    plan = make_plan(load_sweep(file, place.data, Store(place.store).planned), str(file))
    try:
        place.settings.profile(plan.sweep.cluster)
    except InputError as error:
        raise InputError(f"{file}: {error}") from error
    require_readable(plan, place)
    return plan


def submit(file: Path, place: Place, cluster: str = "", *, update: bool = False) -> Submitted:
    """Plan a sweep, write it to the store and submit every task that isn't done. Repeated, it resumes."""
    from rsctl.plan.commit import commit, save_sweep_file
    from rsctl.plan.damaged import set_damaged_aside
    from rsctl.plan.notes import cautions

    plan = plan_file(file, place)
    plan.sweep = replace(plan.sweep, cluster=cluster or plan.sweep.cluster)
    backend = backend_of(place, plan.sweep.cluster)
    aside = set_damaged_aside(Store(place.store), plan)
    committed = commit(plan, place, update=update)
    committed.notes[:0] = aside
    save_sweep_file(place, plan.sweep.name, file)
    handed = backend.submit(_free(committed.requests, backend, place))
    if committed.requests:
        committed.notes.extend(f"note: {note}" for note in cautions(plan, place))
    committed.notes.extend([handed.note] if handed.note else [])
    return Submitted(plan, committed, handed.added, len(handed.held_back))


def _free(requests: list[Request], backend: Backend, place: Place) -> list[Request]:
    """Drop the requests whose tasks another kind of backend is running."""
    everywhere = Everywhere(place)
    other = everywhere.slurm if isinstance(backend, LocalBackend) else everywhere.local
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


def statuses(tasks: Iterable[Task], backend: Observer) -> dict[str, TaskStatus]:
    """Return states by task key, from files first, then from the backend. Reads no HDF5."""
    found: dict[str, TaskStatus] = {}
    open_tasks: list[tuple[Task, Attempt | None]] = []
    attempts: dict[Path, dict[int, list[int]]] = {}
    verdicts: dict[Path, Verdict | None] = {}
    tasks = list(tasks)
    for task in tasks:
        if task.run.path not in attempts:
            attempts[task.run.path] = attempt_numbers(task.run)
        numbers = attempts[task.run.path].get(task.number)
        attempt = read_attempt(task.run, task.number, numbers[-1]) if numbers else None
        if (attempt and attempt.ended == "done") or (
            not task.run.kind.is_table and task.run.model_file.exists()
        ):
            if task.run.path not in verdicts:
                verdicts[task.run.path] = of_folder(task.run.path)
            found[task.key] = _status(task, attempt, State.DONE, verdict=verdicts[task.run.path])
        else:
            open_tasks.append((task, attempt))
    seen = backend.poll([task for task, _ in open_tasks]) if open_tasks else {}
    for task, attempt in open_tasks:
        found[task.key] = _open_status(task, attempt, seen.get(task.key))
    return {task.key: found[task.key] for task in tasks}


def _open_status(task: Task, attempt: Attempt | None, seen: BackendState | None) -> TaskStatus:
    if seen:
        return _status(task, attempt, seen.state, seen.reason, seen.node)
    if attempt is None:
        return _status(task, None, State.NEW, "not submitted")
    if attempt.ended == "failed":
        return _status(task, attempt, State.FAILED, attempt.reason)
    if attempt.ended:
        return _status(task, attempt, State.LOST, f"{attempt.reason}; submit again to resume")
    if not attempt.claim:
        why = attempt.problem or f"{attempt.file} doesn't record which process made it"
        return _status(task, attempt, State.LOST, f"{why}; submit again to resume")
    alive = is_alive(attempt.claim)
    if alive:
        return _status(task, attempt, State.RUNNING)
    if alive is None:
        return _status(
            task,
            attempt,
            State.UNKNOWN,
            f"claimed on {attempt.claim.get('host')}; its processes can't be seen from here",
        )
    return _status(task, attempt, State.LOST, "exited with no recorded error; submit again to resume")


def _status(
    task: Task,
    attempt: Attempt | None,
    state: State,
    reason: str = "",
    node: str = "",
    verdict: Verdict | None = None,
) -> TaskStatus:
    warning = said(verdict)
    if attempt is None:
        return TaskStatus(task, state, reason, node, warning=warning)
    progress, last = attempt.progress, attempt.end or attempt.progress
    again = _again(task, attempt) if state == State.RUNNING else 0.0
    told = [_redone(task, attempt, again), _under_way(progress)] if state == State.RUNNING else []
    return TaskStatus(
        task,
        state,
        reason or "; ".join(filter(None, told)),
        node or attempt.host,
        attempt.number,
        progress.get("done", 0.0),
        progress.get("total", 0.0),
        progress.get("unit", ""),
        progress.get("rate", 0.0) if state == State.RUNNING else 0.0,
        last.get("time", 0.0),
        again,
        warning,
    )


def _again(task: Task, attempt: Attempt) -> float:
    """Return the work that the previous attempt had done but not saved, and this one has not reached yet."""
    if attempt.number < 2 or not attempt.progress:
        return 0.0
    before = read_attempt(task.run, task.number, attempt.number - 1).progress
    return max(0.0, float(before.get("done", 0.0)) - float(attempt.progress.get("done", 0.0)))


def _redone(task: Task, attempt: Attempt, again: float) -> str:
    """Describe the work being redone, in draws if every image takes a fixed number of them."""
    if not again:
        return ""
    what = f"{again:g} {attempt.progress.get('unit', '')}".rstrip()
    # An unreadable spec is reported by the code that needs it.
    with contextlib.suppress(UserError):
        if task.run.kind is RunKind.COUNTS and (spec := task.run.count_spec).stopping == "fixed":
            what = f"{round(again * (spec.n0 + spec.n)):,} draws"
    return f"{what} being redone: attempt {attempt.number - 1} hadn't saved them"


def _under_way(progress: dict[str, Any]) -> str:
    """Describe the images that a verification has been working on for long, with the time at its last report; else empty."""
    if not {"so_far", "done", "at_once", "total"} <= progress.keys():
        return ""
    first, several = int(progress["done"]) + 1, progress["at_once"]
    which = f"image {first}" if several == 1 else f"images {first} to {first + several - 1}"
    told = duration(progress["so_far"])
    return f"{which} of {int(progress['total'])}, {told} on {'it' if several == 1 else 'them'}"


def sweep_statuses(place: Place, name: str) -> dict[str, TaskStatus]:
    """Return the states of a sweep's tasks by task key."""
    store = Store(place.store)
    return statuses(sweep_tasks(store, name), Everywhere(place))


def cluster_of(place: Place, sweep: dict[str, Any]) -> str:
    """Return the profile that a sweep was last submitted to; `local` if rsctl.toml no longer has it."""
    name = str(sweep.get("cluster", "local"))
    return name if name in place.settings.everywhere else "local"


def keep_going(place: Place, name: str) -> None:
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
                raise InputError(
                    f"{run.id}: has no task {number}. It has: {', '.join(map(str, run.task_numbers()))}."
                )
        found |= {task.key: task for task in tasks}
    return list(found.values())


def cancel(place: Place, names: list[str]) -> tuple[list[Task], dict[str, str]]:
    """Cancel this user's unfinished tasks among these sweeps, runs and tasks. Results so far are kept.

    Returns the tasks that were cancelled, and the names of the users whose tasks were not, by task key.
    """
    backend = Everywhere(place)
    open_states = (State.WAITING, State.QUEUED, State.RUNNING, State.UNKNOWN)
    open_tasks = [
        s.task for s in statuses(named_tasks(place, names), backend).values() if s.state in open_states
    ]
    others = of_others(Store(place.store), open_tasks)
    mine = [task for task in open_tasks if task.key not in others]
    backend.cancel(mine)
    return mine, others


def log_files(run: Run, number: int) -> list[Path]:
    """Return a task's log files: its own and that of its newest SLURM job."""
    held = submissions(run).get(number)
    return [run.log_file(number), *([held.log_of(number)] if held and held.job else [])]


def tail(
    run: Run, number: int, write: Callable[[str], None], *, follow: Callable[[], bool] | None = None
) -> None:
    """Write a task's logs; with `follow`, keep writing what is added as long as it returns True."""
    position: dict[Path, int] = {}
    for file in log_files(run, number):
        size = file.stat().st_size if file.is_file() else 0
        if size > LONGEST_LOG:
            position[file] = size - LONGEST_LOG
            write(f"… the last {LONGEST_LOG:,} of {size:,} bytes of {file}:\n")
    shown: Path | None = None
    while True:
        going = follow() if follow else False
        files = log_files(run, number)
        if follow is None and not any(file.exists() for file in files):
            raise InputError(f"{run.id}: task {number} has no log yet ({files[0]}).")
        for file in files:
            for text in _added(file, position):
                if file != (shown or files[0]):
                    write(f"\n==> {file} <==\n")
                shown = file
                write(text)
        if not going:
            return


def _added(file: Path, position: dict[Path, int]) -> Iterator[str]:
    """Read the part of a file that wasn't read yet."""
    with contextlib.suppress(FileNotFoundError), open_regular(file) as log:
        log.seek(position.get(file, 0))
        while chunk := log.read(65536):
            position[file] = log.tell()
            yield chunk.decode("utf-8", "replace")
