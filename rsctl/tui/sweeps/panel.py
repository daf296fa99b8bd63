"""The panel beside the sweeps: a tab line, and one of its panes."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, cast

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import ContentSwitcher

from rsctl.tui.sweeps.panes import PANES
from rsctl.tui.sweeps.panes.pane import Pane
from rsctl.tui.sweeps.selection import Selection
from rsctl.tui.widgets.tabline import TabLine

if TYPE_CHECKING:
    from rsctl.tui.mode import ModeScreen

SETTLE = 0.12
"""Seconds the cursor rests on a row before its data are read: reading for every row passed would delay the next key."""


class SidePanel(Vertical):
    """Shows the selected row in the chosen pane; hidden panes load nothing."""

    def __init__(self, id: str) -> None:  # noqa: A002
        super().__init__(id=id)
        self._panes: dict[str, Pane] = {kind.TITLE: kind() for kind in PANES}
        self._selection: Selection | None = None
        self._settling: Timer | None = None

    def compose(self) -> ComposeResult:
        first = PANES[0].TITLE
        yield TabLine([(kind.KEY, kind.TITLE) for kind in PANES], first)
        with ContentSwitcher(initial=first, id="sweeps-panes"):
            for title, pane in self._panes.items():
                widget = cast(Widget, pane)
                widget.id = title
                yield widget

    @property
    def here(self) -> str:
        """Title of the visible pane."""
        return self.query_one(TabLine).here

    @property
    def pane(self) -> Pane:
        return self._panes[self.here]

    def open(self, title: str) -> None:
        """Show another pane."""
        self.query_one(TabLine).here = title
        self.query_one("#sweeps-panes", ContentSwitcher).current = title
        if self._selection is not None:
            self.pane.select(self._selection)
        self.load()

    def select(self, selection: Selection) -> None:
        """Follow the cursor, or a change of its row."""
        moved = self._selection is None or selection.key != self._selection.key
        self._selection = selection
        self.pane.select(selection)
        self.query_one(TabLine).note = selection.title
        if moved:
            if self._settling is not None:
                self._settling.stop()
            self._settling = self.set_timer(SETTLE, self.load)

    def load(self) -> None:
        """Read the data of the visible pane again."""
        pane, selection = self.pane, self._selection
        if selection is None:
            return

        def show(data: Any) -> None:
            if self._selection is not None and selection.key == self._selection.key:
                pane.show(data)

        screen = cast("ModeScreen", self.screen)
        screen.background.submit("panes", partial(pane.load, selection), screen, show)
