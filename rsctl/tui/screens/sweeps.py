"""Sweeps, their runs and their tasks; beside them what is known of the one under the cursor."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult, SystemCommand
from textual.binding import Binding, BindingType
from textual.containers import Container, Vertical
from textual.message import Message
from textual.widgets import ContentSwitcher

from rsctl.tui.screens.mode import ModeScreen
from rsctl.tui.sweep_rows import COLUMNS, find, sweep_rows
from rsctl.tui.views import Curve, Overview, RunView
from rsctl.tui.widgets.certified import CertifiedPane
from rsctl.tui.widgets.details import DetailsPane
from rsctl.tui.widgets.grid import Grid
from rsctl.tui.widgets.tabline import TabLine

if TYPE_CHECKING:
    from rsctl.tui.curves import Curves

MOST_CURVES = 6
PANES = [("c", "Curve"), ("d", "Details")]


class Drawn(Message):
    """Curves of the runs under the cursor, read from their shards."""

    def __init__(self, key: str, curves: list[Curve]) -> None:
        super().__init__()
        self.key, self.curves = key, curves


class SweepsScreen(ModeScreen):
    """The first mode."""

    MODE = "sweeps"
    GUIDE = (
        "Sweeps, their runs (a model and its certification) and the tasks of each. Enter opens and closes a row. "
        "The panel shows the row under the cursor; its certified accuracy grows as shards arrive."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("c", "pane('Curve')", "Curve", show=False),
        Binding("d", "pane('Details')", "Details", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._open: set[str] | None = None
        """Keys of the rows that are unfolded; None until the first look."""
        self._curves: Curves | None = None
        """Used on the background thread `curves` only."""

    def body(self) -> ComposeResult:
        with Container(id="sweeps-body"):
            with Vertical(id="sweeps-left"):
                yield Grid(COLUMNS, empty="reading the store …", id="sweeps-grid")
            with Vertical(id="sweeps-right"):
                yield TabLine(PANES, "Curve")
                with ContentSwitcher(initial="Curve", id="sweeps-panes"):
                    yield CertifiedPane(id="Curve")
                    yield DetailsPane(id="Details")

    @property
    def grid(self) -> Grid:
        return self.query_one("#sweeps-grid", Grid)

    # What arrives

    def show(self, overview: Overview) -> None:
        if self._open is None and overview.sweeps:
            # The newest sweep is what one comes to see.
            self._open = {overview.sweeps[0].name}
        self.grid.empty = "no sweep yet: 'rsctl new quickstart', then 'rsctl submit quickstart.toml'"
        self.grid.show(sweep_rows(overview, self._open or set()))
        self._show_panes()

    def tick(self) -> None:
        if self.background.due("curves", 1.0):
            self._ask_curves()

    def on_grid_moved(self, _message: Grid.Moved) -> None:
        self._show_panes()
        self._ask_curves()

    def on_grid_folded(self, message: Grid.Folded) -> None:
        opened = self._open if self._open is not None else set()
        self._open = opened | {message.key} if message.opened else opened - {message.key}
        if self.dashboard.overview:
            self.show(self.dashboard.overview)

    def on_tab_line_wanted(self, message: TabLine.Wanted) -> None:
        self.action_pane(message.name)

    def action_pane(self, name: str) -> None:
        """Show another pane of the panel."""
        self.query_one(TabLine).choose(name)
        self.query_one("#sweeps-panes", ContentSwitcher).current = name
        self._show_panes()

    def _show_panes(self) -> None:
        overview = self.dashboard.overview
        if overview is None:
            return
        sweep, run, task = find(overview, self.grid.key)
        self.query_one(CertifiedPane).about(sweep, run)
        self.query_one(DetailsPane).about(overview, sweep, run, task)

    # Curves

    def _ask_curves(self) -> None:
        overview = self.dashboard.overview
        if overview is None or self.query_one(TabLine).here != "Curve":
            return
        sweep, run, _ = find(overview, self.grid.key)
        runs = [run] if run else list(sweep.runs[:MOST_CURVES]) if sweep else []
        if runs:
            self.background.ask(
                "curves", partial(self._read_curves, overview.store, self.grid.key, runs), self
            )

    def _read_curves(self, store: str, key: str, runs: Sequence[RunView]) -> Message:
        from rsctl.tui.curves import Curves

        if self._curves is None:
            self._curves = Curves()
        return Drawn(key, [self._curves.of(store, run) for run in runs])

    def on_drawn(self, message: Drawn) -> None:
        if message.key == self.grid.key:
            self.query_one(CertifiedPane).show(message.curves)

    def commands(self) -> Iterable[SystemCommand]:
        for key, name in PANES:
            yield SystemCommand(
                f"Show {name.lower()}", f"In the panel ({key})", partial(self.action_pane, name)
            )
