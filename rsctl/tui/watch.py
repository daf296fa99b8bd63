"""Looks at the store again and again, cheaply: what is done stays done, what hasn't changed isn't read.

Imported on a background thread only: its rooms take a third of a second to load.
"""

from __future__ import annotations

import operator
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rsctl.cluster.control import TaskStatus, statuses
from rsctl.cluster.everywhere import Everywhere, notices
from rsctl.errors import UserError
from rsctl.plan.tasks import VERBS, Task
from rsctl.report.rows import settings_of
from rsctl.spec.runs import TrainSpec
from rsctl.spec.settings import Place, load_settings
from rsctl.store.attempts import State
from rsctl.store.layout import Run, Store
from rsctl.tui.plain import plain
from rsctl.tui.views import Overview, RunView, SweepView, TaskView


@dataclass
class _Entry:
    """A run of a sweep as planned; read once."""

    key: str
    title: str
    model: str
    counts: str
    settings: dict[str, Any]
    values: dict[str, Any]
    tasks: dict[Run, dict[str, Task]]
    """By their run and key."""
    problem: str = ""


@dataclass
class _Sweep:
    stamp: tuple[int, int]
    plan: dict[str, Any]
    entries: list[_Entry]
    problems: list[str]


class Watcher:
    """The store's sweeps, runs and tasks; a second look reads only what may have changed."""

    def __init__(self) -> None:
        self._place: Place | None = None
        self._sweeps: dict[str, _Sweep] = {}
        self._done: dict[str, TaskView] = {}
        self._views: list[SweepView] = []
        self._last: dict[str, TaskView] = {}
        self._stamps: dict[Path, int] = {}
        """Of the folders with attempts: a new attempt changes them, and what was done may run again."""

    @property
    def place(self) -> Place:
        if self._place is None:
            self._place = load_settings()
        return self._place

    def look(self) -> Overview:
        """All sweeps with the states of their tasks; a sweep that can't be read is named in `problems`."""
        place = self.place
        store = Store(place.store)
        problems: list[str] = []
        found: dict[str, _Sweep] = {}
        for name in store.sweep_names():
            try:
                found[name] = self._sweep(store, name)
            except (UserError, KeyError, TypeError) as error:
                problems.append(plain(f"sweep {name}: {error}"))
                continue
            problems += found[name].problems
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
        )

    def _sweep(self, store: Store, name: str) -> _Sweep:
        status = os.stat(store.sweep_folder(name) / "plan.json")
        stamp = (status.st_mtime_ns, status.st_ino)
        known = self._sweeps.get(name)
        if known and known.stamp == stamp:
            return known
        plan = store.sweep(name)
        problems: list[str] = []
        entries = [_entry(store, name, values, problems) for values in plan["entries"]]
        _name(entries)
        return _Sweep(stamp, plan, entries, problems)

    def _statuses(self, place: Place, sweeps: dict[str, _Sweep]) -> dict[str, TaskView]:
        """Views by task key: one question for all open tasks, and none about those that are done."""
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
            for key, status in statuses(open_tasks.values(), Everywhere(place)).items():
                view = _task_view(status)
                if view == (before := self._last.get(key)):
                    view = before
                found[key] = view
                if status.state == State.DONE:
                    self._done[key] = view
        self._last = found
        return {**self._done, **found}


def _changed(folder: Path) -> int:
    try:
        return os.stat(folder).st_mtime_ns
    except OSError:
        return 0


def _entry(store: Store, sweep: str, values: dict[str, Any], problems: list[str]) -> _Entry:
    model, table = store.run("models", values["model"]), store.run(values["kind"], values["run"])
    parents = [store.run("models", name) for name in values.get("parents", ())]
    planned = [Task(run, 0) for run in (*parents, model)] + [Task(table, n) for n in values["tasks"]]
    tasks: dict[Run, dict[str, Task]] = {}
    for task in planned:
        tasks.setdefault(task.run, {})[task.key] = task
    settings: dict[str, Any] = {}
    problem = ""
    try:
        settings = _settings(model, table)
    except UserError as error:
        problem = plain(str(error))
        problems.append(problem)
    certificates = "+".join(values["certificates"])
    key = f"{sweep}/{table.id}/{values['alpha']}/{certificates}/{values['images']['count']}"
    return _Entry(key, table.id, model.id, table.id, settings, values, tasks, problem)


def _settings(model: Run, table: Run) -> dict[str, Any]:
    train = model.train_spec
    return {**_heading(train), **settings_of(train, table.table_spec)}


def _heading(train: TrainSpec) -> dict[str, Any]:
    return {"method": train.method, "sigma": train.sigma, "seed": train.seed}


def _name(entries: list[_Entry]) -> None:
    """Titles: the method, σ, and whatever else tells runs of one sweep apart."""
    readable = [entry for entry in entries if entry.settings]
    keys = {key: None for entry in readable for key in entry.settings}
    differing = [key for key in keys if len({repr(entry.settings.get(key)) for entry in readable}) > 1]
    for entry in readable:
        values = entry.settings
        extra = [
            f"{key.split('.', 1)[-1]} {_short(values[key])}"
            for key in differing
            if key not in ("method", "sigma") and values.get(key) is not None
        ]
        entry.title = plain(" · ".join([f"{values['method']} σ {values['sigma']:g}", *extra]), 120)


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _task_view(status: TaskStatus) -> TaskView:
    task = status.task
    return TaskView(
        task.key,
        "train" if task.run.kind == "models" else f"{VERBS[task.run.kind]} {task.number}",
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
    )


def _sweep_view(name: str, sweep: _Sweep, tasks: dict[str, TaskView], before: SweepView | None) -> SweepView:
    """The sweep's view; runs in which nothing changed are the same objects as before, and so is the whole."""
    known = {run.key: run for run in before.runs} if before else {}
    runs = tuple(_run_view(name, entry, tasks, known.get(entry.key)) for entry in sweep.entries)
    cluster, submitted = str(sweep.plan.get("cluster", "local")), float(sweep.plan.get("submitted", 0.0))
    if before and before.submitted == submitted and all(map(operator.is_, runs, before.runs)) and len(runs) == len(before.runs):  # fmt: skip
        return before
    view = SweepView(name, plain(str(sweep.plan.get("description", "")), 300), cluster, submitted, runs)
    _ = view.progress  # counted here and not on the screen's thread
    return view


def _run_view(sweep: str, entry: _Entry, tasks: dict[str, TaskView], before: RunView | None) -> RunView:
    views = tuple(tasks[key] for keys in entry.tasks.values() for key in keys if key in tasks)
    if before and before.entry is entry.values and len(views) == len(before.tasks) and all(map(operator.is_, views, before.tasks)):  # fmt: skip
        return before
    run = RunView(
        entry.key,
        sweep,
        entry.title,
        entry.model,
        entry.counts,
        entry.settings,
        entry.values,
        views,
        entry.problem,
    )
    _ = run.progress, run.stage_progress
    return run
