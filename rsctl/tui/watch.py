"""Looks at the store again and again, cheaply: what is done stays done, what hasn't changed isn't read.

Imported on a background thread only: its rooms take a third of a second to load.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rsctl.cluster.control import TaskStatus, statuses
from rsctl.cluster.everywhere import Everywhere, notices
from rsctl.errors import UserError
from rsctl.plan.tasks import Task
from rsctl.report.rows import settings_of
from rsctl.spec.runs import CountSpec, TrainSpec
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
    tasks: list[Task]
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
        self._stamps: dict[Path, int] = {}
        """Of the folders with attempts: a new attempt changes them, and what was done may run again."""

    def forget(self) -> None:
        """Read everything again at the next look, settings included."""
        self.__init__()  # type: ignore[misc]

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
        return Overview(
            str(place.store),
            tuple(_sweep_view(name, sweep, tasks) for name, sweep in found.items()),
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
        for run, tasks in _by_run(sweeps.values()).items():
            stamp = _changed(run.tasks_folder)
            if stamp != self._stamps.get(run.path):
                self._stamps[run.path] = stamp
                for task in tasks:
                    self._done.pop(task.key, None)
            open_tasks |= {task.key: task for task in tasks if task.key not in self._done}
        found: dict[str, TaskView] = {}
        if open_tasks:
            for key, status in statuses(open_tasks.values(), Everywhere(place)).items():
                view = found[key] = _task_view(status)
                if status.state == State.DONE:
                    self._done[key] = view
        return {**self._done, **found}


def _by_run(sweeps: Iterable[_Sweep]) -> dict[Run, list[Task]]:
    found: dict[Run, list[Task]] = {}
    for sweep in sweeps:
        for entry in sweep.entries:
            for task in entry.tasks:
                found.setdefault(task.run, []).append(task)
    return found


def _changed(folder: Path) -> int:
    try:
        return os.stat(folder).st_mtime_ns
    except OSError:
        return 0


def _entry(store: Store, sweep: str, values: dict[str, Any], problems: list[str]) -> _Entry:
    model, counts = store.run("models", values["model"]), store.run("counts", values["counts"])
    parents = [store.run("models", name) for name in values.get("parents", ())]
    tasks = [
        *(Task(parent, 0) for parent in parents),
        Task(model, 0),
        *(Task(counts, number) for number in values["tasks"]),
    ]
    settings: dict[str, Any] = {}
    problem = ""
    try:
        settings = _settings(model, counts)
    except UserError as error:
        problem = plain(str(error))
        problems.append(problem)
    certificates = "+".join(values["certificates"])
    key = f"{sweep}/{counts.id}/{values['alpha']:g}/{certificates}/{values['images']['count']}"
    return _Entry(key, counts.id, model.id, counts.id, settings, values, tasks, problem)


def _settings(model: Run, counts: Run) -> dict[str, Any]:
    train, count = model.train_spec, counts.count_spec
    return {**_heading(train, count), **settings_of(train, count)}


def _heading(train: TrainSpec, count: CountSpec) -> dict[str, Any]:
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
        "train" if task.run.kind == "models" else f"certify {task.number}",
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


def _sweep_view(name: str, sweep: _Sweep, tasks: dict[str, TaskView]) -> SweepView:
    runs = tuple(
        RunView(
            entry.key,
            name,
            entry.title,
            entry.model,
            entry.counts,
            entry.settings,
            entry.values,
            tuple(_views(entry.tasks, tasks)),
            entry.problem,
        )
        for entry in sweep.entries
    )
    return SweepView(
        name,
        plain(str(sweep.plan.get("description", "")), 300),
        str(sweep.plan.get("cluster", "local")),
        float(sweep.plan.get("submitted", 0.0)),
        runs,
    )


def _views(tasks: Iterable[Task], views: dict[str, TaskView]) -> Iterable[TaskView]:
    return (views[task.key] for task in tasks if task.key in views)
