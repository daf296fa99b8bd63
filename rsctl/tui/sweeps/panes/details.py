"""The details of a sweep, a run or a task as text."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from rich.cells import cell_len
from rich.text import Text
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.events import Resize
from textual.widgets import Static

from rsctl.plain import plain
from rsctl.report.typeset import plain as setting_text
from rsctl.tui.sweeps.selection import Selection
from rsctl.tui.views import GLYPHS, RunView, SweepView, TaskView, progress_of

NAMES = 18
"""Width of the names; values that don't fit beside them get their own lines, so that they can be selected whole."""


class DetailsPane(VerticalScroll):
    """Resolved settings, and the reasons of waiting or failed tasks."""

    KEY, TITLE, EMPTY = "d", "Details", "No row is selected."

    def __init__(self) -> None:
        super().__init__()
        self._selection: Selection | None = None
        self._shown: object = None
        self._origin: tuple[str, list[tuple[str, str]]] = ("", [])
        """A run's key, and the provenance of its numbers."""
        self._facts: list[tuple[str, str]] = []

    def compose(self) -> ComposeResult:
        yield Static("", markup=False)

    def select(self, selection: Selection) -> None:
        self._selection = selection
        overview, sweep, run, task = selection.overview, selection.sweep, selection.run, selection.task
        origin = self._origin[1] if run and self._origin[0] == run.key else []
        state = (overview.problems, sweep, run, task, origin)
        if state == self._shown:
            return
        self._shown = state
        table: list[tuple[str, str]] = []
        if task and run:
            _task(table, task)
        elif run:
            _run(table, run, origin)
        elif sweep:
            _sweep(table, sweep)
        for problem in overview.problems:
            _line(table, "problem", problem)
        self._facts = table
        self._lay_out()

    def load(self, selection: Selection) -> tuple[str, list[tuple[str, str]]] | None:
        """Code, versions and command of the run's last submission."""
        from rsctl.store.layout import Run

        run = selection.run
        if run is None or run.imported or run.problem:
            return None
        launch = Run(selection.store / run.entry["kind"] / run.counts).launch()
        made = launch.get("provenance", {})
        git = made.get("git", {})
        state = "no git checkout"
        if "sha" in git:
            state = f"{git['sha'][:12]}{' with uncommitted changes' if git.get('dirty') else ''}"
        versions = ", ".join(f"{name} {version}" for name, version in made.get("versions", {}).items())
        facts = [
            ("code", f"{launch['code']} ({state})"),
            ("submitted by", " ".join(made.get("command", []))),
            ("directory", made.get("cwd", "")),
            ("versions", versions),
        ]
        return run.key, [(name, plain(text, 1000)) for name, text in facts if text]

    def show(self, data: tuple[str, list[tuple[str, str]]]) -> None:
        self._origin = data
        if self._selection is not None:
            self.select(self._selection)

    def on_resize(self, _event: Resize) -> None:
        self._lay_out()

    def _lay_out(self) -> None:
        facts = self._facts or [("", self.EMPTY)]
        self.query_one(Static).update(laid_out(facts, self.scrollable_content_region.width))


def laid_out(facts: list[tuple[str, str]], width: int) -> Text:
    """Names and values in a width: side by side, or a long value on the lines below its name."""
    text = Text()
    for name, value in facts:
        beside = cell_len(value) <= width - NAMES
        text.append(f"{name:<{NAMES - 1}} " if beside else f"{name}\n", "dim")
        text.append(f"{value}\n")
    return text


def _line(table: list[tuple[str, str]], name: str, value: object) -> None:
    table.append((name, plain(str(value))))


def _sweep(table: list[tuple[str, str]], sweep: SweepView) -> None:
    _line(table, "sweep", sweep.name)
    if sweep.description:
        _line(table, "description", " ".join(sweep.description.split()))
    _line(table, "submitted", _clock(sweep.submitted))
    _line(table, "cluster", sweep.cluster)
    _line(table, "runs", len(sweep.runs))
    _line(table, "tasks", _states(sweep.tasks))
    _why(table, sweep.tasks)


def _run(table: list[tuple[str, str]], run: RunView, origin: list[tuple[str, str]]) -> None:
    if run.problem:
        _line(table, "problem", run.problem)
        return
    _line(table, "run", run.title)
    if run.imported:
        _import(table, run)
        return
    _line(table, "tasks", _states(run.tasks))
    if run.warning:
        _line(table, "LEARNED NOTHING", run.warning)
    _why(table, run.tasks)
    entry: Mapping[str, Any] = run.entry
    _line(table, "model", run.model)
    _line(table, entry["kind"], run.counts)
    _line(table, "images", entry["images"]["count"])
    if entry["kind"] == "counts":
        _line(table, "certificates", ", ".join(entry["certificates"]))
        _line(table, "alpha", f"{entry['alpha']:g}")
    for name, text in origin:
        _line(table, name, text)
    _settings(table, run)


def _settings(table: list[tuple[str, str]], run: RunView) -> None:
    table.append(("", ""))
    for key, value in run.settings.items():
        if value is not None:
            _line(table, key, setting_text(value))


def _import(table: list[tuple[str, str]], run: RunView) -> None:
    entry = run.entry
    _line(table, "source", entry["source"])
    _line(table, "stored as", run.counts)
    _line(table, "certificate", f"{entry['certificates'][0]}, as logged: no counts to compute others from")
    for name, form in (("n", ","), ("n0", ","), ("alpha", "g")):
        _line(table, name, "not stated" if entry[name] is None else format(entry[name], form))
    for remark in entry["remarks"]:
        _line(table, "remark", remark)
    _settings(table, run)


def _task(table: list[tuple[str, str]], task: TaskView) -> None:
    _line(table, "task", task.name)
    _line(table, "run", task.run)
    _line(table, "state", f"{GLYPHS[task.state]} {task.state}")
    if task.reason:
        _line(table, "reason", task.reason)
    if task.warning:
        _line(table, "LEARNED NOTHING", task.warning)
    if task.total:
        _line(table, "done", f"{task.done:,.0f} of {task.total:,.0f} {task.unit}")
    _line(table, "attempt", task.attempt or "none yet")
    if task.node:
        _line(table, "node", task.node)
    if task.updated:
        _line(table, "last update", _clock(task.updated))


def _states(tasks: tuple[TaskView, ...]) -> str:
    return ", ".join(f"{count} {state}" for state, count in progress_of(tasks).states.items())


def _why(table: list[tuple[str, str]], tasks: tuple[TaskView, ...]) -> None:
    """Add each reason once, with its number of tasks."""
    counted: dict[tuple[str, str], int] = {}
    for task in tasks:
        if task.reason and task.state != "done":
            counted[task.state, task.reason] = counted.get((task.state, task.reason), 0) + 1
    for (state, reason), count in list(counted.items())[:12]:
        _line(table, f"{GLYPHS[state]} {state}", f"{count} tasks: {reason}" if count > 1 else reason)


def _clock(when: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(when))
