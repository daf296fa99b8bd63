"""States of tasks, from the records in the store first, then from the backends."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rsctl.cluster.backend import BackendState, Observer
from rsctl.errors import UserError
from rsctl.owners import owner_of
from rsctl.plan.tasks import Task
from rsctl.store.attempts import Attempt, State, attempt_file, attempt_numbers, read_attempt
from rsctl.store.degenerate import Verdict, of_folder, warning_of
from rsctl.store.run_kinds import RunKind
from rsctl.text import duration


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
    repeated: float = 0.0
    """Work of a lost attempt that has to be redone, in its unit."""
    warning: str = ""
    """True if its run's network has learned nothing."""

    @property
    def progress(self) -> float:
        """Fraction done, in [0, 1]."""
        return 1.0 if self.state == State.DONE else min(1.0, self.done / self.total) if self.total else 0.0


def owner_of_attempt(status: TaskStatus) -> str:
    """Return the name of the user whose attempt is a task's newest; empty for this user's own, and where there is none."""
    if not status.attempt:
        return ""
    return owner_of(attempt_file(status.task.run, status.task.number, status.attempt))


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
        status = _status(task, attempt, seen.state, seen.reason, seen.node)
        return replace(status, done=seen.done, total=seen.total) if seen.total else status
    if attempt is None:
        return _status(task, None, State.NEW, "not submitted")
    if attempt.ended == "failed":
        return _status(task, attempt, State.FAILED, attempt.reason)
    if attempt.ended:
        return _status(task, attempt, State.LOST, f"{attempt.reason}; submit again to resume")
    if not attempt.claim:
        why = attempt.problem or f"{attempt.file} doesn't record which process made it"
        return _status(task, attempt, State.LOST, f"{why}; submit again to resume")
    alive = attempt.alive
    if alive is None:
        return _status(task, attempt, State.UNKNOWN, attempt.unseen)
    if alive:
        return _status(task, attempt, State.RUNNING)
    return _status(task, attempt, State.LOST, "exited with no recorded error; submit again to resume")


def _status(
    task: Task,
    attempt: Attempt | None,
    state: State,
    reason: str = "",
    node: str = "",
    verdict: Verdict | None = None,
) -> TaskStatus:
    warning = warning_of(verdict)
    if attempt is None:
        return TaskStatus(task, state, reason, node, warning=warning)
    progress, last = attempt.progress, attempt.end or attempt.progress
    repeated = _lost_work(task, attempt) if state == State.RUNNING else 0.0
    notes = [_redone(task, attempt, repeated), _under_way(progress)] if state == State.RUNNING else []
    return TaskStatus(
        task,
        state,
        reason or "; ".join(filter(None, notes)),
        node or attempt.host,
        attempt.number,
        progress.get("done", 0.0),
        progress.get("total", 0.0),
        progress.get("unit", ""),
        progress.get("rate", 0.0) if state == State.RUNNING else 0.0,
        last.get("time", 0.0),
        repeated,
        warning,
    )


def _lost_work(task: Task, attempt: Attempt) -> float:
    """Return the work that the previous attempt had done but not saved, and this one has not reached yet."""
    if attempt.number < 2 or not attempt.progress:
        return 0.0
    before = read_attempt(task.run, task.number, attempt.number - 1).progress
    return max(0.0, float(before.get("done", 0.0)) - float(attempt.progress.get("done", 0.0)))


def _redone(task: Task, attempt: Attempt, repeated: float) -> str:
    """Describe the work being redone, in draws if every image takes a fixed number of them."""
    if not repeated:
        return ""
    what = f"{repeated:g} {attempt.progress.get('unit', '')}".rstrip()
    # An unreadable spec is reported by the code that needs it.
    with contextlib.suppress(UserError):
        if (
            task.run.kind is RunKind.COUNTS
            and (spec := task.run.count_spec).stopping == "fixed"
            and not spec.needed
        ):
            what = f"{round(repeated * (spec.n0 + spec.n)):,} draws"
    return f"{what} being redone: attempt {attempt.number - 1} hadn't saved them"


def _under_way(progress: dict[str, Any]) -> str:
    """Describe the images that a verification has been working on for long, with the time at its last report; else empty."""
    if not {"so_far", "done", "at_once", "total"} <= progress.keys():
        return ""
    first, several = int(progress["done"]) + 1, progress["at_once"]
    which = f"image {first}" if several == 1 else f"images {first} to {first + several - 1}"
    spent = duration(progress["so_far"])
    return f"{which} of {int(progress['total'])}, {spent} on {'it' if several == 1 else 'them'}"
