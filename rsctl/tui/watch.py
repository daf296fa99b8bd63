"""Polls the store cheaply: done tasks and unchanged files aren't read again.

Imported on a background thread only: its imports take a third of a second.
"""

from __future__ import annotations

import operator
import time
from functools import cached_property
from pathlib import Path

from rsctl.cluster.all_backends import AllBackends, notices
from rsctl.cluster.dropped import dropped_tasks, held_keys
from rsctl.cluster.slurm.watch import WATCH
from rsctl.cluster.task_status import TaskStatus, statuses
from rsctl.config.settings import Place, load_settings
from rsctl.errors import UserError
from rsctl.mirror.follow import Follower
from rsctl.plain import plain
from rsctl.plan.tasks import Task
from rsctl.store.attempts import State
from rsctl.store.layout import Run, Store
from rsctl.tui.planned import PlannedRun, PlannedSweep, read_sweep, stamp_of
from rsctl.tui.read_only import is_read_only
from rsctl.tui.views import OPEN_STATES, Overview, RunView, SweepView, TaskView


class Watcher:
    """The store's sweeps, runs and tasks; later polls read only what may have changed."""

    def __init__(self) -> None:
        self._sweeps: dict[str, PlannedSweep] = {}
        self._done: dict[str, TaskView] = {}
        self._views: list[SweepView] = []
        self._last: dict[str, TaskView] = {}
        self._mirror: Follower | None = None
        self._open: set[str] = set()
        """Sweeps that had open tasks at some poll since they were last mirrored."""
        self._stamps: dict[Path, tuple[int, int]] = {}
        """Stamps of the folders with attempts: a new attempt changes them, and done tasks may run again."""

    @cached_property
    def place(self) -> Place:
        return load_settings()

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
        self._mirrored(place)
        views, notify = tuple(self._views), place.settings.notify
        dropped = self._dropped(place, found, held) if complete else ()
        return Overview(str(place.store), views, tuple(problems), time.time(), _unheard(), notify, dropped)

    def _mirrored(self, place: Place) -> None:
        """Mirror the training curves of sweeps with open tasks, and once more when these have ended."""
        if self._mirror is None:
            self._mirror = Follower("off" if is_read_only() else place.settings.mirror)
        now = {view.name for view in self._views if any(task.state in OPEN_STATES for task in view.tasks)}
        if self._mirror.poll(now | self._open):
            self._open = set()
        self._open |= now

    def _dropped(self, place: Place, sweeps: dict[str, PlannedSweep], held: set[str]) -> tuple[TaskView, ...]:
        """Open tasks that no sweep needs, among those held before the sweeps were read."""
        entries = (entry for sweep in sweeps.values() for entry in sweep.entries)
        wanted = {key for entry in entries for tasks in entry.tasks.values() for key in tasks}
        return tuple(_task_view(status) for status in dropped_tasks(place, held - wanted))

    def _statuses(self, place: Place, sweeps: dict[str, PlannedSweep]) -> dict[str, TaskView]:
        """Views by task key: one query for all open tasks, and none for done ones."""
        open_tasks: dict[str, Task] = {}
        entries = [entry for sweep in sweeps.values() for entry in sweep.entries]
        again: set[Run] = set()
        for run in {run for entry in entries for run in entry.tasks}:
            stamp = stamp_of(run.tasks_folder)
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
                view, before = _task_view(status), self._last.get(key)
                found[key] = view = before if before == view else view
                if status.state == State.DONE:
                    self._done[key] = view
        self._last = found
        return {**self._done, **found}


def _unheard() -> float:
    if not WATCH.problem:
        return 0.0
    return WATCH.view.taken if WATCH.view else -1.0


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
    same = (submitted, sweep.remote, sweep.owner)
    if before and (before.submitted, before.remote, before.owner) == same and all(map(operator.is_, runs, before.runs)) and len(runs) == len(before.runs):  # fmt: skip
        return before
    view = SweepView(
        name,
        plain(str(sweep.plan.get("description", "")), 300),
        cluster,
        submitted,
        runs,
        sweep.remote,
        sweep.owner,
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
