"""The sweeps mode: sweeps, runs and tasks, with a panel about the one under the cursor."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import ClassVar

from textual.app import ComposeResult, SystemCommand
from textual.binding import Binding, BindingType
from textual.containers import Container, Vertical
from textual.timer import Timer
from textual.widgets import ContentSwitcher

from rsctl.tui.dialogs.prompt import PromptScreen
from rsctl.tui.filter_bar import NO_MATCH
from rsctl.tui.results.controls import void
from rsctl.tui.sweeps.actions import AGAIN, Steering
from rsctl.tui.sweeps.log_view import LogView
from rsctl.tui.sweeps.panes.curve import CertifiedPane
from rsctl.tui.sweeps.panes.details import DetailsPane
from rsctl.tui.sweeps.panes.training import TrainingPane
from rsctl.tui.sweeps.reader import Drawn, Found, Origin, PaneReader, Read, Trained, about, log_of
from rsctl.tui.sweeps.rows import COLUMNS, SORTS, find, sweep_rows, titles
from rsctl.tui.views import Overview, RunView, SweepView, TaskView
from rsctl.tui.widgets.grid import Grid
from rsctl.tui.widgets.tabline import TabLine

PANES = [("c", "Curve"), ("t", "Training"), ("l", "Log"), ("d", "Details")]
ACTIONS = (
    ("Filter runs", "state:failed  method:gaussian  sigma:>0.5  or text (/)", "filter"),
    ("Sort runs", "As planned, by state, progress or time left (s)", "sort"),
    ("Cancel", "The unfinished tasks of the sweep, run or task under the cursor (x)", "cancel"),
    (
        "Retry",
        "The failed, lost and cancelled tasks of the sweep, run or task under the cursor (r)",
        "retry",
    ),
    ("Retry with other limits", "With more time or memory (R)", "retry_larger"),
    ("Edit the sweep file", "Open it in $EDITOR, then submit the change (e)", "edit"),
    ("Jump to the last error", "In the log (E)", "error"),
    ("Delete the sweep", "With the results that no other sweep shares; asks first (X)", "delete_sweep"),
    ("Copy", "An id, an error, a command, a line of the log (y)", "copy"),
)


class SweepsScreen(Steering):
    """The first mode."""

    MODE = "sweeps"
    GUIDE = (
        "Sweeps, their runs (a model and its certification) and their tasks. Enter opens or closes a row; "
        "Tab goes to the panel and back. The panel describes the row under the cursor and follows it while it runs."
    )
    HEADS: ClassVar[dict[str, str]] = {
        "State": "dead: runs whose network learned nothing: accuracy at chance, or one class for all images",
        "Progress": "of a run: its training, then its images",
        "Rate": "steps or images per second of running tasks",
        "Left": "time until running and waiting tasks end, at this rate",
        "Try": "how many times the task was started",
    }
    PANES = PANES
    BINDINGS: ClassVar[list[BindingType]] = [
        *(Binding(key, f"pane('{name}')", f"Panel: {name.lower()}", show=False) for key, name in PANES),
        Binding("s", "sort", "Sort", tooltip="Sort the runs: as planned, by state, progress or time left"),
        Binding("x", "cancel", "Cancel", tooltip="Cancel the unfinished tasks under the cursor"),
        Binding("r", "retry", "Retry", tooltip="Restart failed, lost and cancelled tasks under the cursor"),
        Binding("R", "retry_larger", "Retry with other limits", show=False),
        Binding("e", "edit", "Edit", tooltip="Edit the sweep file and submit the change"),
        Binding("E", "error", "Last error in the log", show=False),
        Binding("X", "delete_sweep", "Delete the sweep", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._open: set[str] | None = None
        """Keys of the open rows; None before the first poll."""
        self._sort = SORTS[0]
        self._reader = PaneReader()
        self._asking: Timer | None = None

    def body(self) -> ComposeResult:
        with Container(id="sweeps-body"):
            with Vertical(id="sweeps-left"):
                yield Grid(COLUMNS, empty="Reading the store …", id="sweeps-grid")
                yield from self.filter_line()
            with Vertical(id="sweeps-right"):
                yield TabLine(PANES, "Curve")
                with ContentSwitcher(initial="Curve", id="sweeps-panes"):
                    yield CertifiedPane(id="Curve")
                    yield TrainingPane(id="Training")
                    yield LogView(id="Log")
                    yield DetailsPane(id="Details")

    def rows(self) -> Grid:
        return self.grid

    @property
    def grid(self) -> Grid:
        return self.query_one("#sweeps-grid", Grid)

    @property
    def pane(self) -> str:
        return self.query_one(TabLine).here

    def chosen(self) -> tuple[SweepView | None, RunView | None, TaskView | None]:
        """Sweep, run and task under the cursor, None for those below its level."""
        overview = self.dashboard.overview
        return find(overview, self.grid.key) if overview else (None, None, None)

    def sweep_name(self) -> str:
        sweep, _, _ = self.chosen()
        return sweep.name if sweep else ""

    # What arrives

    def show(self, overview: Overview) -> None:
        if self._open is None and overview.sweeps:
            # Users mostly come to see the newest sweep.
            self._open = {overview.sweeps[0].name}
        self.grid.empty = NO_MATCH if self.only else "No sweeps yet. Press 3 to create one."
        wanted = self.dashboard.sweep_in_sight
        goes = wanted != self.sweep_name() and any(sweep.name == wanted for sweep in overview.sweeps)
        if goes:
            self._open = (self._open or set()) | {wanted}
            self.dashboard.sweep_in_sight = ""
        rows = sweep_rows(overview, self._open or set(), self.only, self._sort)
        self.grid.show(rows, titles(self._sort))
        if goes:
            self.grid.move_to(wanted)
        self._show_panes()

    def tick(self) -> None:
        if self.background.due("panes", 1.0):
            self._ask()

    def on_grid_moved(self, _message: Grid.Moved) -> None:
        self._show_panes()
        if self._asking is not None:
            self._asking.stop()
        # Not for every row that the cursor passes: reading counts would delay the next key.
        self._asking = self.set_timer(0.12, self._ask)

    def on_grid_folded(self, message: Grid.Folded) -> None:
        opened = self._open if self._open is not None else set()
        self._open = opened | {message.key} if message.opened else opened - {message.key}
        self.show_again()

    def on_grid_chosen(self, _message: Grid.Chosen) -> None:
        """Show the log of the chosen task."""
        self.action_pane("Log")

    # The panel

    def on_tab_line_selected(self, message: TabLine.Selected) -> None:
        self.action_pane(message.name)

    def action_pane(self, name: str) -> None:
        """Show another pane of the panel."""
        self.query_one(TabLine).choose(name)
        self.query_one("#sweeps-panes", ContentSwitcher).current = name
        self._show_panes()
        self._ask()

    def _show_panes(self) -> None:
        overview = self.dashboard.overview
        if overview is None:
            return
        sweep, run, task = self.chosen()
        key = run.key if run else sweep.name if sweep else ""
        match self.pane:
            case "Curve":
                self.query_one(CertifiedPane).about(key)
            case "Training":
                self.query_one(TrainingPane).about(key)
            case "Details":
                self.query_one(DetailsPane).about(overview, sweep, run, task)
        path, note = log_of(overview, run, task)
        self.query_one(LogView).about(path, note)
        self.query_one(TabLine).note(about(sweep, run, task))

    def _ask(self) -> None:
        """Read the data of the visible pane again."""
        overview, key = self.dashboard.overview, self.grid.key
        if overview is None:
            return
        sweep, run, _ = self.chosen()
        runs = [run] if run else list(sweep.runs) if sweep else []
        log = self.query_one(LogView)
        if self.pane == "Curve" and runs:
            self.background.submit("panes", partial(self._reader.curves, overview.store, key, runs), self)
        elif self.pane == "Training" and runs:
            self.background.submit("panes", partial(self._reader.training, overview.store, key, runs), self)
        elif self.pane == "Details" and run and not run.imported and not run.problem:
            self.background.submit("panes", partial(self._reader.origin, overview.store, run), self)
        elif self.pane == "Log" and log.path and (log.following or log.window is None):
            size = log.window.size if log.window else -2
            self.background.submit("panes", partial(self._reader.log_end, log.path, size), self)

    def on_drawn(self, message: Drawn) -> None:
        if message.key == self.grid.key:
            self.query_one(CertifiedPane).show(message.curves, message.runs)

    def on_trained(self, message: Trained) -> None:
        if message.key == self.grid.key:
            self.query_one(TrainingPane).show(message.curves)

    def on_origin(self, message: Origin) -> None:
        self.query_one(DetailsPane).came(message.key, message.facts)
        self._show_panes()

    def on_read(self, message: Read) -> None:
        self.query_one(LogView).show(message.window)

    def copyable(self) -> list[tuple[str, str]]:
        sweep, run, task = self.chosen()
        if sweep is None:
            return []
        log = self.query_one(LogView)
        line = [("line of the log", log.line())] if self.pane == "Log" else []
        if run is None:
            return [*line, ("sweep", sweep.name), ("command", f"rsctl status {sweep.name}")]
        wrong = task.reason if task else next((one.reason for one in run.tasks if one.reason), "")
        again = any(one.state in AGAIN for one in ([task] if task else run.tasks))
        named = f"{task.run.partition('/')[2]} {task.number}" if task else run.counts
        command = f"rsctl {'retry' if again else 'logs'} {named}"
        return [
            *line, ("run", run.counts), ("model", run.model if run.model != run.counts else ""), ("error", wrong),
            ("command", command), ("log file", str(log.path or "")),
        ]  # fmt: skip

    def on_log_view_text_wanted(self, message: LogView.TextWanted) -> None:
        def take(text: str | None) -> None:
            if text:
                self.query_one(LogView).search(text)

        help_text = "Case is ignored. n goes to the next match, N to the previous one."
        self.app.push_screen(PromptScreen("Find in the log", help_text, message.before, void), take)

    def on_log_view_sought(self, message: LogView.Sought) -> None:
        if message.path is not None:
            job = partial(self._reader.log_text, message.path, message.text, message.byte, message.forward)
            self.background.submit("log", job, self)

    def on_log_view_needed(self, message: LogView.Needed) -> None:
        path = self.query_one(LogView).path
        if path is not None:
            self.background.submit("log", partial(self._reader.log_at, path, message.byte), self)

    def action_error(self) -> None:
        """Find the last error above the visible part of the log."""
        log = self.query_one(LogView)
        self.action_pane("Log")
        if log.path is not None:
            self.background.submit("log", partial(self._reader.log_error, log.path, log.above()), self)

    def on_found(self, message: Found) -> None:
        log = self.query_one(LogView)
        if message.window is None:
            self.notify(message.none, markup=False)
        elif message.window.path == log.path and message.window.anchor is not None:
            log.mark(message.window.anchor)
            log.show(message.window)

    # Order

    def action_sort(self) -> None:
        """Sort the runs of each sweep by the next order."""
        self._sort = SORTS[(SORTS.index(self._sort) + 1) % len(SORTS)]
        self.show_again()

    def on_grid_headed(self, message: Grid.Headed) -> None:
        """Sort by the clicked column; a second click restores the planned order."""
        title = COLUMNS[message.column].title.lower()
        self._sort = title if title in SORTS and title != self._sort else SORTS[0]
        self.show_again()

    def commands(self) -> Iterable[SystemCommand]:
        for title, text, action in ACTIONS:
            yield SystemCommand(title, text, partial(self.run_action, action))
        for key, name in PANES:
            yield SystemCommand(
                f"Show {name.lower()}", f"In the panel ({key})", partial(self.action_pane, name)
            )
