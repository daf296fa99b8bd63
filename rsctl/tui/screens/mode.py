"""What the modes have in common: a first line, a body, and being told of each look at the store."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, cast

from textual.app import ComposeResult, SystemCommand
from textual.binding import Binding, BindingType
from textual.events import Event
from textual.screen import Screen
from textual.widgets import Footer

from rsctl.plain import plain
from rsctl.tui.background import Answer, Background, Failed
from rsctl.tui.screens.ask import AskScreen, ChooseScreen
from rsctl.tui.views import Overview
from rsctl.tui.widgets.tabline import TabLine
from rsctl.tui.widgets.topbar import TopBar

if TYPE_CHECKING:
    from rsctl.tui.app import Dashboard

MODE_KEYS = [("1", "Sweeps"), ("2", "Results"), ("3", "Compose"), ("4", "Cluster")]
"""Key and name; a mode's screen is named as it is, in lower case."""


class ModeScreen(Screen[None]):
    """One of the modes."""

    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (116, "-wide")]
    MODE: ClassVar[str] = ""
    GUIDE: ClassVar[str] = ""
    """What this screen is for, above its keys on the help screen."""
    HEADS: ClassVar[dict[str, str]] = {}
    """What the heads of its columns mean, below them."""
    ROWS: ClassVar[dict[str, str]] = {}
    """For the help: what the keys of a list's rows do here, by their actions; nothing for one without use."""
    PANES: ClassVar[list[tuple[str, str]]] = []
    """Key, or nothing, and name of the panels that its tab line switches between."""
    ATTEMPTS: ClassVar[tuple[str, ...]] = ("file", "export")
    """Groups of errands that a dialogue waits for."""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "y",
            "copy",
            "Copy",
            show=False,
            tooltip="Copy what is under the cursor: an id, an error, a line …",
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
    def standing(self) -> bool:
        """Whether its widgets are there: not before it is mounted, nor while the dashboard closes."""
        return self.is_mounted and self.app.is_running

    async def on_event(self, event: Event) -> None:
        if not isinstance(event, Answer) or self.standing:
            await super().on_event(event)

    def on_screen_resume(self) -> None:
        if self.dashboard.overview is not None:
            self.show(self.dashboard.overview)
        self.dashboard.tell_age()

    def show(self, overview: Overview) -> None:
        """A new look at the store arrived."""

    def sweep_name(self) -> str:
        """The sweep one looks at, if it is one."""
        return ""

    def copyable(self) -> list[tuple[str, str]]:
        """Names and texts of what can be copied where the cursor is, the likeliest first."""
        return []

    def action_copy(self) -> None:
        """Copy what is under the cursor; of several things, ask which."""
        copy_one(self, self.copyable())

    def action_next_pane(self, by: int) -> None:
        """Show the panel beside the one that is shown."""
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
        """What the command palette offers here."""
        return ()

    def settle(self, problem: str) -> None:
        """An attempt of a dialogue has ended: it closes, or says what was wrong; where it was left, that is said here."""
        dialogue = self.app.screen
        if not isinstance(dialogue, AskScreen) or not dialogue.trying:
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
        screen.notify("nothing to copy is under the cursor", markup=False)
    elif len(known) == 1:
        take(*known)
    else:
        options = [(name, plain(text, 200)) for name, text in known.items()]
        screen.app.push_screen(ChooseScreen("Copy", options), take)
