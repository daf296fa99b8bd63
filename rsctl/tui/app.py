"""The dashboard's application: the modes, one ticker, and the latest look at the store."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterable
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, ClassVar, cast

from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.events import Event, Key
from textual.screen import Screen
from textual.widgets import Input

from rsctl.plain import plain
from rsctl.text import counted
from rsctl.tui.background import Answer, Background, Failed
from rsctl.tui.screens.confirm import ConfirmScreen
from rsctl.tui.screens.help import HelpScreen, keys_of
from rsctl.tui.screens.mode import MODE_KEYS, ModeScreen
from rsctl.tui.screens.sweeps import SweepsScreen
from rsctl.tui.tell import notify_send, on_this_desktop, through_terminal
from rsctl.tui.themes import SERIES, THEMES
from rsctl.tui.views import OPEN_STATES, Overview, SweepView
from rsctl.tui.widgets.styles import TONE_CLASSES
from rsctl.tui.widgets.topbar import TopBar

if TYPE_CHECKING:
    from rsctl.tui.screens.drafting import Drafting
    from rsctl.tui.watch import Watcher

TICK = 1.0
AWAY = 5.0
"""Seconds between looks while another window has the focus."""


class Looked(Answer):
    """A look at the store is done."""

    def __init__(self, overview: Overview) -> None:
        super().__init__()
        self.overview = overview


class Dashboard(App[None]):
    """rsctl in the terminal."""

    TITLE = "rsctl"
    CSS_PATH = "rsctl.tcss"
    COMPONENT_CLASSES = TONE_CLASSES
    MODES = {
        "sweeps": SweepsScreen,
        "results": lambda: _screen("results"),
        "compose": lambda: _screen("compose"),
        "cluster": lambda: _screen("cluster"),
    }
    DEFAULT_MODE = "sweeps"
    BINDINGS: ClassVar[list[BindingType]] = [
        *(Binding(key, f"mode('{name.lower()}')", name, show=False) for key, name in MODE_KEYS),
        Binding("q", "quit", "Quit"),
        # Apart: where somebody types, a q is a letter, and the last line must not say otherwise.
        Binding("ctrl+c,ctrl+q", "quit", "Quit", show=False),
        Binding("question_mark", "help", "Help", key_display="?"),
        Binding("ctrl+p", "command_palette", "More", key_display="^p", tooltip="Every action, by name"),
        Binding("p", "pause", "Pause", show=False, tooltip="Stop looking, or look again; tasks go on"),
        Binding("f5,ctrl+r", "read_again", "Read everything again", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.background = Background()
        self.overview: Overview | None = None
        self.paused = False
        self.watcher: Watcher | None = None
        """Used on the background thread `store` only."""
        self.form: Drafting | None = None
        """The compose mode, once it was on the screen."""
        self.sweep_in_sight = ""
        """The sweep one was looking at, for the mode one goes to."""
        self._away = False
        self._just_left = False
        """The last key was a q in a dialogue: a second one, or one held down, must not leave rsctl."""
        self._passed_on: Key | None = None
        """A key that what it is bound to first had no use for."""
        for theme in THEMES:
            self.register_theme(theme)
        self.theme = THEMES[0].name
        # Nothing here moves for the sake of moving: it is slow over SSH, and some people can't bear it.
        self.animation_level = "none"

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return SERIES

    def on_mount(self) -> None:
        self.set_interval(TICK, self._tick)
        self.call_after_refresh(self._tick)

    # The ticker

    def _tick(self) -> None:
        if not self.paused and self.background.due("store", AWAY if self._away else TICK):
            self.background.ask("store", self._look, self)
        if self.screen_stack and self.mode_screen.standing:
            if not self.paused:
                self.mode_screen.tick()
            self.tell_age()

    def _look(self) -> Answer:
        from rsctl.tui.watch import Watcher

        if self.watcher is None:
            self.watcher = Watcher()
        return Looked(self.watcher.look())

    def on_looked(self, message: Looked) -> None:
        before, self.overview = self.overview, message.overview
        for name, text in ended(before, message.overview):
            self.notify(text, title=name, markup=False, timeout=10)
            self._tell_outside(name, text, message.overview.notify)
        if self.screen_stack and self.mode_screen.standing:
            self.mode_screen.show(message.overview)
            self.tell_age()

    def _tell_outside(self, name: str, text: str, how: str) -> None:
        """Reach somebody who looks at another window."""
        if how != "off":
            self.bell()
        if how != "desktop":
            return
        title = f"rsctl {name}"
        if on_this_desktop(os.environ):
            self.background.ask(f"notify {name}", partial(notify_send, title, text), self)
        elif self._driver is not None and not self.is_headless:
            self._driver.write(through_terminal(title, text, os.environ))

    def on_failed(self, message: Failed) -> None:
        self.notify(plain(message.text, 600), severity="error", markup=False)

    def on_app_blur(self) -> None:
        self._away = True

    def on_app_focus(self) -> None:
        self._away = False

    @property
    def mode_screen(self) -> ModeScreen:
        """The screen of the mode, below any dialogue."""
        return cast("ModeScreen", self.screen_stack[0])

    def tell_age(self) -> None:
        """Say in the first line how old what is shown is."""
        for bar in self.mode_screen.query(TopBar):
            overview = self.overview
            bar.tell(
                overview.store if overview else "", overview.taken if overview else 0.0, self.paused, self.background.busy("store"), overview.unheard if overview else 0.0,
            )  # fmt: skip

    # Actions

    async def on_event(self, event: Event) -> None:
        """Keys may arrive together, as over a slow line: what a key opens or closes is done before the next is looked at.

        Textual handles a key that is bound only once it has come back from the widget in focus, and by then the widget
        has those that follow. So it is handled here and now; Textual itself waits for the widgets of a screen that was
        opened before it looks at the next key.
        """
        if isinstance(event, Key):
            if not event.is_forwarded:
                if await self._act(event):
                    return
            elif event is not self._passed_on:
                # It comes back from the widget in focus, and another screen may be here by now: it isn't its key.
                return
        await super().on_event(event)

    async def _act(self, key: Key) -> bool:
        """Do what a key is bound to; False if it is text, or bound to nothing."""
        self.app_focus = True
        field = self.focused
        if isinstance(field, Input):
            # What was typed before is on its way: a Backspace or Enter must not overtake it.
            await _caught_up(field)
            if field is self.focused and field.check_consume_key(key.key, key.character):
                return False
        bound = self.screen.active_bindings.get(key.key)
        if bound is None or not bound.enabled:
            return False
        left, self._just_left = self._just_left, key.key == "q" and self.screen.is_modal
        if left and (key.key, bound.binding.action) == ("q", "quit"):
            self.notify("the q before closed a dialogue; q again leaves rsctl", markup=False)
            return True
        if not await self.run_action(bound.binding.action, bound.node):
            # What it is bound to has no use for it now, as Ctrl+C where nothing is selected: others may.
            self._passed_on = key
            return False
        return True

    def on_top_bar_wanted(self, message: TopBar.Wanted) -> None:
        self.action_mode(message.mode)

    def action_mode(self, name: str) -> None:
        """Go to another mode."""
        if self.screen is self.mode_screen and name != self.current_mode:
            self.sweep_in_sight = self.mode_screen.sweep_name() or self.sweep_in_sight
            self.switch_mode(name)

    def action_pause(self) -> None:
        """Stop looking, or go on."""
        self.paused = not self.paused
        self._tick()

    def action_read_again(self) -> None:
        """Forget what was read and look at everything anew."""

        def look() -> Answer:
            self.watcher = None
            return self._look()

        self.background.ask("store", look, self)

    def look_now(self) -> None:
        """Something was changed: don't wait for the ticker."""
        self.background.ask("store", self._look, self)

    async def action_quit(self) -> None:
        """Leave, after a question where something in the form is unsaved."""
        if (form := self.form) is None or not form.unsaved:
            self.exit()
            return

        def answered(yes: bool | None) -> None:
            if yes:
                form.keep()
                self.background.finish("draft", 1.0)
                self.exit()

        text = f"'{plain(form.unsaved, 60)}' has changes that aren't saved (3, then w saves them). They are kept, and offered next time."
        self.push_screen(ConfirmScreen("Leave rsctl?", text, "Leave", "Stay"), answered)

    def action_help(self) -> None:
        screen = self.mode_screen
        if self.screen is screen:
            self.push_screen(
                HelpScreen(screen.MODE.capitalize(), screen.GUIDE, keys_of(screen), screen.HEADS)
            )

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        yield from self.mode_screen.commands()
        for name in self.MODES:
            if name != self.current_mode:
                yield SystemCommand(f"Go to {name}", f"The {name} mode", partial(self.action_mode, name))
        yield SystemCommand(
            "Pause or go on", "Stop looking at the store, or look again (p)", self.action_pause
        )
        yield SystemCommand("Read everything again", "Forget what was read (F5)", self.action_read_again)
        yield SystemCommand("Keys", "What this screen is for, and its keys (?)", self.action_help)
        yield SystemCommand("Theme", "Change the colours", self.action_change_theme)
        yield SystemCommand("Quit", "Leave; the tasks go on (q)", partial(self.run_action, "quit"))


def _screen(mode: str) -> ModeScreen:
    """A mode's screen; what isn't looked at first isn't imported before the first paint."""
    module = import_module(f"rsctl.tui.screens.{mode}")
    return cast("ModeScreen", getattr(module, f"{mode.capitalize()}Screen")())


async def _caught_up(field: Input) -> None:
    """Wait until a field has handled every key that it was given; not for one that is being taken away."""
    done = asyncio.Event()
    if field.call_later(done.set):
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(done.wait(), 0.5)


def ended(before: Overview | None, now: Overview) -> list[tuple[str, str]]:
    """Sweeps whose last open task ended between two looks: name and a sentence."""
    if before is None:
        return []
    went_on = {sweep.name for sweep in before.sweeps if not _over(sweep)}
    found = []
    for sweep in now.sweeps:
        if sweep.name in went_on and _over(sweep):
            states = sweep.progress.states
            bad, total = sum(states.values()) - states.get("done", 0), sum(states.values())
            text = "every task is done" if not bad else f"ended; not done: {bad} of {counted(total, 'task')}"
            found.append((sweep.name, text))
    return found


def _over(sweep: SweepView) -> bool:
    return not any(state in sweep.progress.states for state in OPEN_STATES)


def make_app() -> Dashboard:
    """The dashboard over the settings in force; `run()` it in a terminal."""
    return Dashboard()
