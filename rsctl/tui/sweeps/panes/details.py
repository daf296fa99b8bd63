"""The details of a sweep, a run or a task as text."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.cells import cell_len
from rich.text import Text
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.events import Resize
from textual.widgets import Static

from rsctl.plain import plain
from rsctl.results.rounding import plain as setting_text
from rsctl.tui.sweeps.selection import Selection
from rsctl.tui.views import GLYPHS, RunView, SweepView, TaskView, progress_of

Facts = list[tuple[str, Any]]
"""Names and values; empty values are left out, an empty name is a blank line."""
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
        key = run.key if run else f"sweeps/{sweep.name}" if sweep else ""
        origin = self._origin[1] if self._origin[0] == key else []
        state = (overview.problems, sweep, run, task, origin)
        if state == self._shown:
            return
        self._shown = state
        facts = (
            _task(task)
            if task and run
            else _run(run, origin)
            if run
            else _sweep(sweep, origin)
            if sweep
            else []
        )
        facts += [("problem", problem) for problem in overview.problems]
        self._facts = [
            (name, plain(str(value))) for name, value in facts if not name or value not in ("", None)
        ]
        self._lay_out()

    def load(self, selection: Selection) -> tuple[str, list[tuple[str, str]]] | None:
        """Code, versions and command of the run's last submission, and the package that it was received in."""
        from rsctl.store.layout import Run, Store

        run = selection.run
        if run is None and selection.sweep:
            folder = Store(selection.store).sweep_folder(selection.sweep.name)
            return f"sweeps/{selection.sweep.name}", _received(folder)
        if run is None or run.imported or run.derived or run.problem:
            return None
        launch = Run(selection.store / run.entry["kind"] / run.counts).launch()
        made = launch.get("provenance", {})
        git = made.get("git", {})
        state = "no git checkout"
        if "sha" in git:
            state = f"{git['sha'][:12]}{' with uncommitted changes' if git.get('dirty') else ''}"
        versions = ", ".join(f"{name} {version}" for name, version in made.get("versions", {}).items())
        facts = [
            *_received(Run(selection.store / run.entry["kind"] / run.counts).path),
            ("code", f"{launch['code'] or made.get('code', '')} ({state})"),
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


def _received(folder: Path) -> list[tuple[str, str]]:
    """The package that a run or a sweep was received in; empty for one of this store's own."""
    from rsctl.store.received import describe, received

    record = received(folder)
    return [("received", plain(describe(record).removeprefix("received ")))] if record else []


def _sweep(sweep: SweepView, origin: list[tuple[str, str]]) -> Facts:
    return [
        ("sweep", sweep.name),
        ("description", " ".join(sweep.description.split())),
        ("submitted", _clock(sweep.submitted)),
        ("by user", sweep.owner),
        ("cluster", sweep.cluster),
        *origin,
        ("runs", sum(not run.derived for run in sweep.runs)),
        ("cascades", sum(run.derived for run in sweep.runs) or ""),
        ("tasks", _states(sweep.tasks)),
        *_reasons(sweep.tasks),
    ]


def _run(run: RunView, origin: list[tuple[str, str]]) -> Facts:
    if run.problem:
        return [("problem", run.problem)]
    entry: Mapping[str, Any] = run.entry
    settings = ((key, setting_text(value)) for key, value in run.settings.items() if value is not None)
    if run.imported:
        return [("run", run.title), *_import(run), ("", ""), *settings]
    if run.derived:
        return _cascade(run)
    counts = entry["kind"] == "counts"
    return [
        ("run", run.title),
        ("tasks", _states(run.tasks)),
        ("LEARNED NOTHING", run.warning),
        *_reasons(run.tasks),
        ("model", run.model),
        (entry["kind"], run.counts),
        ("images", entry["images"]["count"]),
        ("certificates", ", ".join(entry["certificates"]) if counts else ""),
        ("alpha", f"{entry['alpha']:g}" if counts else ""),
        *origin,
        ("", ""),
        *settings,
    ]


def _cascade(run: RunView) -> Facts:
    entry = run.entry
    return [
        ("cascade", run.title),
        ("tasks", _states(run.tasks)),
        ("LEARNED NOTHING", run.warning),
        *_reasons(run.tasks),
        *((f"level {number + 1}", level.run) for number, level in enumerate(entry["levels"])),
        ("tau", ", ".join(f"{tau:g}" for tau in entry["taus"])),
        ("images", entry["images"]["count"]),
        ("alpha", f"{entry['alpha']:g}, of all levels together"),
    ]


def _import(run: RunView) -> Facts:
    entry, forms = run.entry, (("n", ","), ("n0", ","), ("alpha", "g"))
    return [
        ("source", entry["source"]),
        ("stored as", run.counts),
        ("certificate", f"{entry['certificates'][0]}, as logged: no counts to compute others from"),
        *((key, "not stated" if entry[key] is None else format(entry[key], form)) for key, form in forms),
        *(("remark", remark) for remark in entry["remarks"]),
    ]


def _task(task: TaskView) -> Facts:
    return [
        ("task", task.name),
        ("run", task.run),
        ("state", f"{GLYPHS[task.state]} {task.state}"),
        ("reason", task.reason),
        ("LEARNED NOTHING", task.warning),
        ("done", f"{task.done:,.0f} of {task.total:,.0f} {task.unit}" if task.total else ""),
        ("attempt", task.attempt or "none yet"),
        ("node", task.node),
        ("last update", _clock(task.updated) if task.updated else ""),
    ]


def _states(tasks: tuple[TaskView, ...]) -> str:
    return ", ".join(f"{count} {state}" for state, count in progress_of(tasks).states.items())


def _reasons(tasks: tuple[TaskView, ...]) -> Facts:
    """Each reason of tasks that aren't done once, with its number of tasks."""
    counts = Counter((task.state, task.reason) for task in tasks if task.reason and task.state != "done")
    return [
        (f"{GLYPHS[state]} {state}", f"{count} tasks: {reason}" if count > 1 else reason)
        for (state, reason), count in list(counts.items())[:12]
    ]


def _clock(when: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(when))
