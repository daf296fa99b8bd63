"""Polls the store cheaply: done tasks and unchanged files aren't read again.

Imported on a background thread only: its imports take a third of a second.
"""

from __future__ import annotations

import operator
import os
import time
from pathlib import Path

from rsctl.cluster.all_backends import AllBackends, notices
from rsctl.cluster.dropped import dropped_tasks, held_keys
from rsctl.cluster.slurm.watch import WATCH
from rsctl.cluster.task_status import TaskStatus, statuses
from rsctl.config.settings import Place, load_settings
from rsctl.errors import UserError
from rsctl.plain import plain
from rsctl.plan.tasks import Task
from rsctl.store.attempts import State
from rsctl.store.layout import Run, Store
from rsctl.tui.planned import PlannedRun, PlannedSweep, read_sweep
from rsctl.tui.views import Overview, RunView, SweepView, TaskView


class Watcher:
    """The store's sweeps, runs and tasks; later polls read only what may have changed."""

    def __init__(self) -> None:
        self._place: Place | None = None
        self._sweeps: dict[str, PlannedSweep] = {}
        self._done: dict[str, TaskView] = {}
        self._views: list[SweepView] = []
        self._last: dict[str, TaskView] = {}
        self._stamps: dict[Path, int] = {}
        """Modification times of the folders with attempts: a new attempt changes them, and done tasks may run again."""

    @property
    def place(self) -> Place:
        if self._place is None:
            self._place = load_settings()
        return self._place

    def poll(self) -> Overview:
        """All sweeps with the states of their tasks; a sweep that can't be read is named in `problems`."""
        place = self.place
        store = Store(place.store)
        problems: list[str] = []
        found: dict[str, PlannedSweep] = {}
        held = held_keys(store)
        names = [*store.sweep_names(), *store.import_only()]
        for name in names:
            try:
                found[name] = read_sweep(store, name, self._sweeps.get(name))
            except (UserError, KeyError, TypeError) as error:
                problems.append(plain(f"sweep {name}: {error}"))
                continue
            problems += found[name].problems
        complete = len(found) == len(names)
        """False if a sweep can't be read: its tasks must not be reported as dropped."""
        self._sweeps = found
        tasks = self._statuses(place, found)
        problems += [plain(notice, 500) for notice in notices()]
        known = {view.name: view for view in self._views}
        self._views = [_sweep_view(name, sweep, tasks, known.get(name)) for name, sweep in found.items()]
        views = self._views
        return Overview(
            str(place.store),
            tuple(views),
            tuple(problems),
            time.time(),
            _unheard(),
            place.settings.notify,
            self._dropped(place, found, held) if complete else (),
        )

    def _dropped(self, place: Place, sweeps: dict[str, PlannedSweep], held: set[str]) -> tuple[TaskView, ...]:
        """Open tasks that no sweep needs, among those held before the sweeps were read."""
        wanted = {
            key
            for sweep in sweeps.values()
            for entry in sweep.entries
            for tasks in entry.tasks.values()
            for key in tasks
        }
        return tuple(_task_view(status) for status in dropped_tasks(place, held - wanted))

    def _statuses(self, place: Place, sweeps: dict[str, PlannedSweep]) -> dict[str, TaskView]:
        """Views by task key: one query for all open tasks, and none for done ones."""
        open_tasks: dict[str, Task] = {}
        entries = [entry for sweep in sweeps.values() for entry in sweep.entries]
        again: set[Run] = set()
        for run in {run for entry in entries for run in entry.tasks}:
            stamp = _changed(run.tasks_folder)
            if stamp != self._stamps.get(run.path):
                self._stamps[run.path] = stamp
                again.add(run)
        for entry in entries:
            for run, tasks in entry.tasks.items():
                if run in again:
                    for key in tasks:
                        self._done.pop(key, None)
                open_tasks |= {key: task for key, task in tasks.items() if key not in self._done}
        found: dict[str, TaskView] = {}
        if open_tasks:
            for key, status in statuses(open_tasks.values(), AllBackends(place)).items():
                view = _task_view(status)
                if view == (before := self._last.get(key)):
                    view = before
                found[key] = view
                if status.state == State.DONE:
                    self._done[key] = view
        self._last = found
        return {**self._done, **found}


def _unheard() -> float:
    if not WATCH.problem:
        return 0.0
    return WATCH.view.taken if WATCH.view else -1.0


def _changed(folder: Path) -> int:
    try:
        return os.stat(folder).st_mtime_ns
    except OSError:
        return 0


def _task_view(status: TaskStatus) -> TaskView:
    task = status.task
    return TaskView(
        task.key,
        f"{task.run.kind.verb} {task.number}" if task.run.kind.is_table else "train",
        f"{task.run.kind}/{task.run.id}",
        task.number,
        status.state.value,
        plain(status.reason, 500),
        status.done,
        status.total,
        plain(status.unit, 20),
        status.rate,
        plain(status.node, 40),
        status.attempt,
        status.updated,
        plain(status.warning, 500),
    )


def _sweep_view(
    name: str, sweep: PlannedSweep, tasks: dict[str, TaskView], before: SweepView | None
) -> SweepView:
    """The sweep's view; if nothing changed, the sweep and its runs are the same objects as before."""
    known = {run.key: run for run in before.runs} if before else {}
    runs = tuple(_run_view(name, entry, tasks, known.get(entry.key)) for entry in sweep.entries)
    cluster, submitted = str(sweep.plan.get("cluster", "local")), float(sweep.plan.get("submitted", 0.0))
    if before and before.submitted == submitted and before.owner == sweep.owner and all(map(operator.is_, runs, before.runs)) and len(runs) == len(before.runs):  # fmt: skip
        return before
    view = SweepView(
        name, plain(str(sweep.plan.get("description", "")), 300), cluster, submitted, runs, sweep.owner
    )
    _ = view.progress  # computed here and not on the UI thread
    return view


def _run_view(sweep: str, entry: PlannedRun, tasks: dict[str, TaskView], before: RunView | None) -> RunView:
    views = tuple(tasks[key] for keys in entry.tasks.values() for key in keys if key in tasks)
    if before and before.entry is entry.values and len(views) == len(before.tasks) and all(map(operator.is_, views, before.tasks)):  # fmt: skip
        return before
    run = RunView(
        entry.key, sweep, entry.title, entry.name, entry.model, entry.counts, entry.settings, entry.values, views, entry.problem,
    )  # fmt: skip
    _ = run.progress, run.stage_progress
    return run
