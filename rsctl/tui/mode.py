"""Base of all modes: a first line, a body, and updates from each poll of the store."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, cast

from textual.app import ComposeResult, SystemCommand
from textual.binding import Binding, BindingType
from textual.events import Event
from textual.screen import Screen
from textual.widgets import Footer

from rsctl.plain import plain
from rsctl.tui.background import Background, Failed, Result
from rsctl.tui.dialogs.prompt import ChooseScreen, PromptScreen
from rsctl.tui.views import Overview
from rsctl.tui.widgets.tabline import TabLine
from rsctl.tui.widgets.topbar import TopBar

if TYPE_CHECKING:
    from rsctl.tui.app import Dashboard

MODE_KEYS = [("1", "Sweeps"), ("2", "Results"), ("3", "Compose"), ("4", "Cluster")]
"""Key and name; a mode's screen has this name in lower case."""


class ModeScreen(Screen[None]):
    """One of the modes."""

    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (116, "-wide")]
    MODE: ClassVar[str] = ""
    GUIDE: ClassVar[str] = ""
    """Introduction on the help screen, above the keys."""
    HEADS: ClassVar[dict[str, str]] = {}
    """Meaning of the column titles, on the help screen."""
    ROWS: ClassVar[dict[str, str]] = {}
    """Help texts of a list's keys, by action; empty for a key without effect here."""
    PANES: ClassVar[list[tuple[str, str]]] = []
    """Key, or nothing, and name of the panels that its tab line switches between."""
    ATTEMPTS: ClassVar[tuple[str, ...]] = ("file", "export")
    """Groups of background jobs that a dialog waits for."""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "y",
            "copy",
            "Copy",
            show=False,
            tooltip="Copy an id, an error or a line under the cursor",
        ),
        Binding("left_square_bracket", "next_pane(-1)", "Previous panel", show=False, key_display="["),
        Binding("right_square_bracket", "next_pane(1)", "Next panel", show=False, key_display="]"),
    ]

    def compose(self) -> ComposeResult:
        yield TopBar(MODE_KEYS, self.MODE)
        yield from self.body()
        yield Footer(show_command_palette=False)

    def body(self) -> ComposeResult:
        raise NotImplementedError

    @property
    def dashboard(self) -> Dashboard:
        return cast("Dashboard", self.app)

    @property
    def background(self) -> Background:
        return self.dashboard.background

    @property
    def alive(self) -> bool:
        """True while its widgets exist: not before it is mounted, nor while the dashboard closes."""
        return self.is_mounted and self.app.is_running

    async def on_event(self, event: Event) -> None:
        if not isinstance(event, Result) or self.alive:
            await super().on_event(event)

    def on_screen_resume(self) -> None:
        if self.dashboard.overview is not None:
            self.show(self.dashboard.overview)
        self.dashboard.show_age()

    def show(self, overview: Overview) -> None:
        """Show a new overview of the store."""

    def sweep_name(self) -> str:
        """Name of the selected sweep, if there is one."""
        return ""

    def copyable(self) -> list[tuple[str, str]]:
        """Names and texts that can be copied at the cursor, the likeliest first."""
        return []

    def action_copy(self) -> None:
        """Copy from under the cursor, after a choice if there are several texts."""
        copy_one(self, self.copyable())

    def action_next_pane(self, by: int) -> None:
        """Show the next or previous panel."""
        names = [name for _, name in self.PANES]
        if names:
            here = names.index(self.query_one(TabLine).here)
            self.action_pane(names[(here + by) % len(names)])

    def action_pane(self, name: str) -> None:
        """Show a panel."""
        raise NotImplementedError

    def tick(self) -> None:
        """A second passed while this mode is on the screen."""

    def commands(self) -> Iterable[SystemCommand]:
        """The mode's entries in the command palette."""
        return ()

    def settle(self, problem: str) -> None:
        """End a dialog's attempt: close it or show the problem in it; if it was left already, show the problem here."""
        dialogue = self.app.screen
        if not isinstance(dialogue, PromptScreen) or not dialogue.trying:
            if problem:
                self.notify(plain(problem, 600), severity="error", markup=False)
        elif problem:
            dialogue.refuse(plain(problem, 600))
        else:
            dialogue.dismiss()

    def on_failed(self, message: Failed) -> None:
        if message.group in self.ATTEMPTS:
            self.settle(message.text)
        else:
            self.notify(plain(message.text, 600), severity="error", markup=False)


def copy_one(screen: Screen[Any], texts: Sequence[tuple[str, str]]) -> None:
    """Copy one of these texts to the clipboard of the terminal (OSC 52), which reaches the user's own machine over SSH."""
    known = {name: text for name, text in texts if text}

    def take(name: str | None) -> None:
        if name:
            screen.app.copy_to_clipboard(known[name])
            screen.notify(f"copied: {plain(known[name], 200)}", markup=False)

    if not known:
        screen.notify("Nothing to copy here.", markup=False)
    elif len(known) == 1:
        take(*known)
    else:
        options = [(name, plain(text, 200)) for name, text in known.items()]
        screen.app.push_screen(ChooseScreen("Copy", options), take)
