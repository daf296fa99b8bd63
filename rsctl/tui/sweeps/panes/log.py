"""The log of a task, or of a run's most relevant task: followed, searched and scrolled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from rsctl.tui.dialogs.prompt import PromptScreen
from rsctl.tui.sweeps.log_files import Window, last_error, last_window, size_of, window_around
from rsctl.tui.sweeps.log_search import find_text
from rsctl.tui.sweeps.log_view import LogView
from rsctl.tui.sweeps.selection import Selection
from rsctl.tui.views import BAD_STATES

if TYPE_CHECKING:
    from rsctl.tui.mode import ModeScreen


@dataclass(frozen=True)
class LogMatch:
    """The part of a log with the line that was searched for; `none` is the message if there is none."""

    window: Window | None
    none: str


class LogPane(LogView):
    """Reads the parts of the log that the view requests."""

    KEY, TITLE, EMPTY = "l", "Log", "The log is empty."

    def select(self, selection: Selection) -> None:
        self.set_log(*log_of(selection))

    def load(self, selection: Selection) -> Window | None:
        """The end of the log if it is followed, unless its size is unchanged."""
        path, window = self.path, self.window
        if path is None or not (self.following or window is None):
            return None
        source = _source(path)
        if window is not None and size_of(source) == window.size:
            return None
        return replace(last_window(source), path=path)

    def show(self, data: Window | LogMatch) -> None:
        if isinstance(data, Window):
            self.show_window(data)
        elif data.window is None:
            self.notify(data.none, markup=False)
        elif data.window.path == self.path and data.window.anchor is not None:
            self.mark(data.window.anchor)
            self.show_window(data.window)

    def request(self, byte: int | None) -> None:
        def read(source: Path) -> Window:
            return last_window(source) if byte is None else window_around(source, byte)

        self._run(lambda path: replace(read(_source(path)), path=path))

    def find_error(self) -> None:
        self._run(partial(_find, last_error, "No error above this line.", self.above()))

    def seek(self, byte: int, forward: bool) -> None:
        text = self.sought

        def find(source: Path, byte: int) -> int | None:
            return find_text(source, text, byte, forward)

        none = f"No match for '{text}' {'below' if forward else 'above'} this line."
        self._run(partial(_find, find, none, byte))

    def action_search(self) -> None:
        def take(text: str | None) -> None:
            if text:
                self.sought = text
                self.action_again(True)

        help_text = "Case is ignored. n goes to the next match, N to the previous one."
        self.app.push_screen(PromptScreen("Find in the log", help_text, self.sought), take)

    def _run(self, job: Callable[[Path], Any]) -> None:
        if self.path is not None:
            screen = cast("ModeScreen", self.screen)
            screen.background.submit("log", partial(job, self.path), screen, self.show)


def _find(find: Callable[[Path, int], int | None], none: str, byte: int, path: Path) -> LogMatch:
    source = _source(path)
    found = find(source, byte) if size_of(source) >= 0 else None
    return LogMatch(None if found is None else replace(window_around(source, found), path=path), none)


def _source(path: Path) -> Path:
    """A task's log; while that is empty, the output of its cluster job."""
    if size_of(path) > 0:
        return path
    from rsctl.cluster.task_logs import log_files
    from rsctl.store.layout import Run

    others = [file for file in log_files(Run(path.parents[1]), int(path.stem)) if size_of(file) > 0]
    return others[-1] if others else path


def log_of(selection: Selection) -> tuple[Path | None, str]:
    """The log to show for a row, and the message if there is none; for a run, that of its most relevant task."""
    run, task = selection.run, selection.task
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
    return selection.store / task.run / "logs" / f"{task.number:04d}.log", LogPane.EMPTY
