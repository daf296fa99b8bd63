"""What the modes have in common: a first line, a body, and being told of each look at the store."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar, cast

from textual.app import ComposeResult, SystemCommand
from textual.events import Event
from textual.screen import Screen
from textual.widgets import Footer

from rsctl.tui.background import Answer, Background, Failed
from rsctl.tui.plain import plain
from rsctl.tui.screens.ask import AskScreen
from rsctl.tui.views import Overview
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
    ATTEMPTS: ClassVar[tuple[str, ...]] = ("file", "export")
    """Groups of errands that a dialogue waits for."""

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

    def tick(self) -> None:
        """A second passed while this mode is on the screen."""

    def commands(self) -> Iterable[SystemCommand]:
        """What the command palette offers here."""
        return ()

    def settle(self, problem: str) -> None:
        """What a dialogue attempts is done: it closes, or says what was wrong; where it was left, that is said here."""
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
