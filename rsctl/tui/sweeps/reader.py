"""Reads the data of the panel beside the sweeps, on background threads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rsctl.plain import plain
from rsctl.text import counted
from rsctl.tui.background import Result
from rsctl.tui.sweeps.log_files import Window, last_error, last_window, size_of, window_around
from rsctl.tui.sweeps.log_search import find_text
from rsctl.tui.views import BAD_STATES, Curve, Overview, RunView, SweepView, TaskView, TrainingCurve
from rsctl.tui.widgets.styles import SERIES

if TYPE_CHECKING:
    from rsctl.tui.curves import Curves
    from rsctl.tui.sweeps.training_files import Training


class Drawn(Result):
    """Curves of the first `runs` under the cursor."""

    def __init__(self, key: str, curves: list[Curve], runs: int) -> None:
        super().__init__()
        self.key, self.curves, self.runs = key, curves, runs


class Trained(Result):
    """Training curves of the runs under the cursor."""

    def __init__(self, key: str, curves: list[TrainingCurve]) -> None:
        super().__init__()
        self.key, self.curves = key, curves


class Origin(Result):
    """Provenance of a run's numbers, as (name, text) pairs."""

    def __init__(self, key: str, facts: list[tuple[str, str]]) -> None:
        super().__init__()
        self.key, self.facts = key, facts


class Read(Result):
    """A part of a log."""

    def __init__(self, window: Window) -> None:
        super().__init__()
        self.window = window


class Found(Result):
    """The part of a log with the line that was searched for; `none` is the message if there is none."""

    def __init__(self, window: Window | None, none: str = "") -> None:
        super().__init__()
        self.window, self.none = window, none


class PaneReader:
    """The panel's background jobs; their caches are used only on their own threads."""

    def __init__(self) -> None:
        self._curves: Curves | None = None
        self._training: Training | None = None

    def curves(self, store: str, key: str, runs: Sequence[RunView]) -> Result:
        from rsctl.tui.curves import Curves

        if self._curves is None:
            self._curves = Curves()
        readable = [run for run in runs if not run.problem]
        return Drawn(key, [self._curves.of(store, run) for run in readable[:SERIES]], len(runs))

    def training(self, store: str, key: str, runs: Sequence[RunView]) -> Result:
        from rsctl.tui.sweeps.training_files import Training

        if self._training is None:
            self._training = Training()
        models = {run.model: run for run in runs if not run.imported}
        return Trained(
            key,
            [
                self._training.of(Path(store) / "models" / run.model, run.title)
                for run in list(models.values())[:SERIES]
            ],
        )

    def origin(self, store: str, run: RunView) -> Result:
        """Code, versions and command of the run's last submission."""
        from rsctl.store.layout import Run

        launch = Run(Path(store) / run.entry["kind"] / run.counts).launch()
        made = launch.get("provenance", {})
        git = made.get("git", {})
        state = (
            f"{git['sha'][:12]}{' with uncommitted changes' if git.get('dirty') else ''}"
            if "sha" in git
            else "no git checkout"
        )
        versions = ", ".join(f"{name} {version}" for name, version in made.get("versions", {}).items())
        facts = [
            ("code", f"{launch['code']} ({state})"),
            ("submitted by", " ".join(made.get("command", []))),
            ("directory", made.get("cwd", "")),
            ("versions", versions),
        ]
        return Origin(run.key, [(name, plain(text, 1000)) for name, text in facts if text])

    def log_end(self, path: Path, known: int) -> Result | None:
        """The end of a log, unless its size is unchanged."""
        source = _source(path)
        return None if size_of(source) == known else Read(replace(last_window(source), path=path))

    def log_at(self, path: Path, byte: int | None) -> Result:
        source = _source(path)
        return Read(replace(last_window(source) if byte is None else window_around(source, byte), path=path))

    def log_error(self, path: Path, before: int) -> Result:
        source = _source(path)
        byte = last_error(source, before) if size_of(source) >= 0 else None
        return _found(path, source, byte, "No error above this line.")

    def log_text(self, path: Path, text: str, byte: int, forward: bool) -> Result:
        """The next line from this byte on, or the last one before it, that contains a text, ignoring case."""
        source = _source(path)
        found = find_text(source, text, byte, forward) if size_of(source) >= 0 else None
        return _found(
            path, source, found, f"No match for '{text}' {'below' if forward else 'above'} this line."
        )


def _found(path: Path, source: Path, byte: int | None, none: str) -> Found:
    return Found(replace(window_around(source, byte), path=path) if byte is not None else None, none)


def _source(path: Path) -> Path:
    """A task's log; while that is empty, the output of its cluster job."""
    if size_of(path) > 0:
        return path
    from rsctl.cluster.control import log_files
    from rsctl.store.layout import Run

    others = [file for file in log_files(Run(path.parents[1]), int(path.stem)) if size_of(file) > 0]
    return others[-1] if others else path


def log_of(overview: Overview, run: RunView | None, task: TaskView | None) -> tuple[Path | None, str]:
    """The log to show for a row, and the message if there is none; for a run, that of its most relevant task."""
    if run is None:
        return None, "Select a run or a task to see its log."
    if run.imported:
        return None, "An imported log has no tasks."
    if task is None:
        order = (*BAD_STATES, "running", "cancelled", "unknown", "done")
        tried = [t for t in run.tasks if t.attempt and t.state in order]
        if not tried:
            return None, "No task of this run has started."
        task = min(tried, key=lambda t: (order.index(t.state), -t.updated))
    return Path(overview.store) / task.run / "logs" / f"{task.number:04d}.log", "The log is empty."


def about(sweep: SweepView | None, run: RunView | None, task: TaskView | None) -> str:
    """The title of the panel: its sweep, run or task."""
    if run is None:
        return f"{sweep.name} ({counted(len(sweep.runs), 'run')})" if sweep else ""
    return f"{run.title} · {task.name}" if task else run.title
