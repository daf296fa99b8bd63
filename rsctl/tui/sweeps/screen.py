"""The sweeps mode: sweeps, runs and tasks, with a panel about the one under the cursor."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Vertical

from rsctl.tui.filter_bar import NO_MATCH, FilterBar
from rsctl.tui.mode import ModeScreen
from rsctl.tui.sweeps import panes
from rsctl.tui.sweeps.actions import RETRIED, SweepActions
from rsctl.tui.sweeps.edit import SweepEditor
from rsctl.tui.sweeps.panel import SidePanel
from rsctl.tui.sweeps.panes.log import LogPane
from rsctl.tui.sweeps.rows import COLUMNS, SORTS, sweep_rows
from rsctl.tui.sweeps.selection import Selection, select
from rsctl.tui.views import Overview
from rsctl.tui.widgets.cells import marked
from rsctl.tui.widgets.grid import Grid


class SweepsScreen(ModeScreen):
    """The first mode."""

    MODE = "sweeps"
    PANES: ClassVar[list[tuple[str, str]]] = [(kind.KEY, kind.TITLE) for kind in panes.PANES]
    BINDINGS: ClassVar[list[BindingType]] = [
        *FilterBar.KEYS,
        *(Binding(key, f"pane('{name}')", f"Panel: {name.lower()}", show=False) for key, name in PANES),
        Binding("s", "sort", "Sort", tooltip="Sort the runs: as planned, by state, progress or time left"),
        Binding("x", "part('actions', 'cancel')", "Cancel", tooltip="Cancel the unfinished tasks under the cursor"),
        Binding("r", "part('actions', 'retry')", "Retry", tooltip="Restart failed, lost and cancelled tasks under the cursor"),
        Binding("R", "part('actions', 'retry_larger')", "Retry with other limits", show=False),
        Binding("e", "part('editor', 'edit')", "Edit", tooltip="Edit the sweep file and submit the change"),
        Binding("E", "error", "Last error in the log", show=False),
        Binding("X", "part('actions', 'delete')", "Delete the sweep", show=False),
    ]  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        self._open: set[str] | None = None
        """Keys of the open rows; None before the first poll."""
        self._sort = SORTS[0]
        self.actions = SweepActions(self)
        self.editor = SweepEditor(self, self.actions)
        self.grid = Grid(COLUMNS, empty="Reading the store …", id="sweeps-grid")
        self.filter_bar = FilterBar(self.grid)
        self.panel = SidePanel(id="sweeps-right")

    def body(self) -> ComposeResult:
        with Container(id="sweeps-body"):
            with Vertical(id="sweeps-left"):
                yield self.grid
                yield self.filter_bar
            yield self.panel

    @property
    def selection(self) -> Selection | None:
        overview = self.dashboard.overview
        return select(overview, self.grid.key) if overview else None

    def sweep_name(self) -> str:
        selection = self.selection
        return selection.sweep.name if selection and selection.sweep else ""

    def show(self, overview: Overview) -> None:
        if self._open is None and overview.sweeps:
            # Users mostly come to see the newest sweep.
            self._open = {overview.sweeps[0].name}
        only = self.filter_bar.only
        self.grid.empty = NO_MATCH if only else "No sweeps yet. Press 3 to create one."
        wanted = self.dashboard.selected_sweep
        goes = wanted != self.sweep_name() and overview.sweep(wanted) is not None
        if goes:
            self._open = (self._open or set()) | {wanted}
            self.dashboard.selected_sweep = ""
        self.grid.show(
            sweep_rows(overview, self._open or set(), only, self._sort),
            marked(COLUMNS, self._sort.capitalize()),
        )
        if goes:
            self.grid.move_to(wanted)
        self._follow()

    def _follow(self) -> None:
        if (selection := self.selection) is not None:
            self.panel.select(selection)

    def tick(self) -> None:
        if self.background.due("panes", 1.0):
            self.panel.load()

    def on_grid_moved(self, _message: Grid.Moved) -> None:
        self._follow()

    def on_grid_folded(self, message: Grid.Folded) -> None:
        opened = self._open if self._open is not None else set()
        self._open = opened | {message.key} if message.opened else opened - {message.key}
        self.show_again()

    def on_grid_chosen(self, _message: Grid.Chosen) -> None:
        """Show the log of the chosen task."""
        self.action_pane(LogPane.TITLE)

    def action_pane(self, name: str) -> None:
        self.panel.open(name)

    def action_error(self) -> None:
        self.action_pane(LogPane.TITLE)
        self.query_one(LogPane).find_error()

    def copyable(self) -> list[tuple[str, str]]:
        selection = self.selection
        if selection is None or selection.sweep is None:
            return []
        sweep, run, task = selection.sweep, selection.run, selection.task
        log = self.query_one(LogPane)
        line = [("line of the log", log.line())] if self.panel.here == LogPane.TITLE else []
        if run is None:
            return [*line, ("sweep", sweep.name), ("command", f"rsctl status {sweep.name}")]
        wrong = task.reason if task else next((one.reason for one in run.tasks if one.reason), "")
        again = any(one.state in RETRIED for one in ([task] if task else run.tasks))
        named = f"{task.run.partition('/')[2]} {task.number}" if task else run.counts
        command = f"rsctl {'retry' if again else 'logs'} {named}"
        return [
            *line, ("run", run.counts), ("model", run.model if run.model != run.counts else ""), ("error", wrong),
            ("command", command), ("log file", str(log.path or "")),
        ]  # fmt: skip

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
