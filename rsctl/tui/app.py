"""The dashboard's application: the modes, one ticker, and the latest overview of the store."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterable, Mapping
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, ClassVar, cast

from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.events import Event, Key
from textual.screen import Screen
from textual.widgets import Input

from rsctl.plain import plain
from rsctl.tui.background import Background, Failed, Receiver
from rsctl.tui.dialogs.help import HelpScreen
from rsctl.tui.mode import MODE_KEYS, ModeScreen
from rsctl.tui.notifications import ended, notify_send, on_this_desktop, through_terminal
from rsctl.tui.read_only import CHANGING, REFUSAL, is_read_only
from rsctl.tui.themes import SERIES, THEMES
from rsctl.tui.views import Overview
from rsctl.tui.widgets.styles import TONE_CLASSES
from rsctl.tui.widgets.topbar import TopBar

if TYPE_CHECKING:
    from textual.actions import ActionParseResult
    from textual.dom import DOMNode

    from rsctl.tui.compose.drafting import WorkingDraft
    from rsctl.tui.watch import Watcher

TICK = 1.0
AWAY = 5.0
"""Seconds between polls while another window has the focus."""


def _screen(mode: str) -> ModeScreen:
    """Imports and makes a mode's screen, so that the first paint only loads the first mode."""
    module = import_module(f"rsctl.tui.{mode}.screen")
    return cast("ModeScreen", getattr(module, f"{mode.capitalize()}Screen")())


class Dashboard(Receiver, App[None]):
    """rsctl in the terminal."""

    TITLE = "rsctl"
    CSS_PATH = "rsctl.tcss"
    COMPONENT_CLASSES = TONE_CLASSES
    MODES = {name.lower(): partial(_screen, name.lower()) for _, name in MODE_KEYS}
    DEFAULT_MODE = "sweeps"
    BINDINGS: ClassVar[list[BindingType]] = [
        *(Binding(key, f"mode('{name.lower()}')", name, show=False) for key, name in MODE_KEYS),
        Binding("q", "quit", "Quit"),
        # Separate, since q is a letter in a text field and the footer must not offer it there.
        Binding("ctrl+c,ctrl+q", "quit", "Quit", show=False),
        Binding("question_mark", "help", "Help", key_display="?"),
        Binding("ctrl+p", "command_palette", "More", key_display="^p", tooltip="Every action, by name"),
        Binding("p", "pause", "Pause", show=False, tooltip="Pause or resume updates; tasks keep running"),
        Binding("f5,ctrl+r", "read_again", "Reload everything", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.background = Background()
        self.overview: Overview | None = None
        self.paused = False
        self.watcher: Watcher | None = None
        """Used only on the background thread `store`."""
        self.form: WorkingDraft | None = None
        """The draft of the compose mode, once that has been opened."""
        self.selected_sweep = ""
        """The sweep last selected, for the mode that is opened next."""
        self._away = False
        self._just_left = False
        """The last key was a q in a dialog: a second one, or one held down, must not quit rsctl."""
        self._passed_on: Key | None = None
        """A key that its first binding did not use."""
        for theme in THEMES:
            self.register_theme(theme)
        self.theme = THEMES[0].name
        # No animations: they are slow over SSH and some people can't tolerate them.
        self.animation_level = "none"

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return SERIES

    def on_mount(self) -> None:
        self.set_interval(TICK, self._tick)
        self.call_after_refresh(self._tick)

    # The ticker

    def _tick(self) -> None:
        if not self.paused and self.background.due("store", AWAY if self._away else TICK):
            self.background.submit("store", self._poll, self, self.show_overview)
        if self.screen_stack and self.mode_screen.alive:
            if not self.paused:
                self.mode_screen.tick()
            self.show_age()

    def _poll(self) -> Overview:
        from rsctl.tui.watch import Watcher

        if self.watcher is None:
            self.watcher = Watcher()
        return self.watcher.poll()

    def show_overview(self, overview: Overview) -> None:
        """Show a new overview of the store, and report the sweeps that ended."""
        before, self.overview = self.overview, overview
        for name, text in ended(before, overview):
            self.notify(text, title=name, markup=False, timeout=10)
            self._notify_outside(name, text, overview.notify)
        if self.screen_stack and self.mode_screen.alive:
            self.mode_screen.show(overview)
            self.show_age()

    def _notify_outside(self, name: str, text: str, how: str) -> None:
        if how != "off":
            self.bell()
        if how != "desktop":
            return
        title = f"rsctl {name}"
        if on_this_desktop(os.environ):
            self.background.submit(f"notify {name}", partial(notify_send, title, text), self)
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
        """The screen of the mode, below any dialog."""
        return cast("ModeScreen", self.screen_stack[0])

    def show_age(self) -> None:
        """Show the age of the data in the first line."""
        for bar in self.mode_screen.query(TopBar):
            overview = self.overview
            bar.show_status(
                overview.store if overview else "", overview.taken if overview else 0.0, self.paused, self.background.busy("store"), overview.unheard if overview else 0.0,
            )  # fmt: skip

    # Actions

    async def on_event(self, event: Event) -> None:
        """Handle a key completely before the next one: over a slow line several arrive together.

        Textual runs a bound key's action only after the focused widget has passed the key on, and by then that widget
        has received the keys that follow. So the action runs here; Textual itself waits for the widgets of a newly
        opened screen before it takes the next key.
        """
        if isinstance(event, Key):
            if not event.is_forwarded:
                if await self._act(event):
                    return
            elif event is not self._passed_on:
                # The focused widget passed it on, but another screen may be open by now, which must not receive it.
                return
        await super().on_event(event)

    async def _act(self, key: Key) -> bool:
        """Run the action a key is bound to; False if the key is text or unbound."""
        self.app_focus = True
        field = self.focused
        if isinstance(field, Input):
            # Earlier keys are still queued: a Backspace or Enter must not overtake them.
            await _caught_up(field)
            if field is self.focused and field.check_consume_key(key.key, key.character):
                return False
        bound = self.screen.active_bindings.get(key.key)
        if bound is None or not bound.enabled:
            return False
        left, self._just_left = self._just_left, key.key == "q" and self.screen.is_modal
        if left and (key.key, bound.binding.action) == ("q", "quit"):
            self.notify("That q closed a dialog. Press q again to quit rsctl.", markup=False)
            return True
        if not await self.run_action(bound.binding.action, bound.node):
            # The action did not apply, such as Ctrl+C with nothing selected: pass the key on.
            self._passed_on = key
            return False
        return True

    async def run_action(
        self,
        action: str | ActionParseResult,
        default_namespace: DOMNode | None = None,
        namespaces: Mapping[str, DOMNode] | None = None,
    ) -> bool:
        """Run an action of a key, the command palette or the mouse; refuse one that changes something if this is read-only."""
        if is_read_only() and action in CHANGING:
            self.notify(REFUSAL, severity="warning", markup=False)
            return True
        return await super().run_action(action, default_namespace, namespaces)

    def on_top_bar_mode_selected(self, message: TopBar.ModeSelected) -> None:
        self.action_mode(message.mode)

    def action_mode(self, name: str) -> None:
        if name == "compose" and is_read_only():
            self.notify(REFUSAL, severity="warning", markup=False)
            return
        if self.screen is self.mode_screen and name != self.current_mode:
            self.selected_sweep = self.mode_screen.sweep_name() or self.selected_sweep
            self.switch_mode(name)

    def action_pause(self) -> None:
        self.paused = not self.paused
        self._tick()

    def action_read_again(self) -> None:
        """Discard the cache and read everything again."""

        def reread() -> Overview:
            self.watcher = None
            return self._poll()

        self.background.submit("store", reread, self, self.show_overview)

    def poll_now(self) -> None:
        """Poll at once after a change, without waiting for the ticker."""
        self.background.submit("store", self._poll, self, self.show_overview)

    async def action_quit(self) -> None:
        """Quit, after confirmation if the form has unsaved changes."""
        if (form := self.form) is None or not form.unsaved:
            self.exit()
            return

        def leave() -> None:
            form.keep()
            self.background.finish("draft", 1.0)
            self.exit()

        text = f"'{plain(form.unsaved, 60)}' has unsaved changes (3, then w, saves them). They are kept and offered next time."
        self.mode_screen.confirm("Quit rsctl?", text, "Quit", leave, "Stay")

    def action_help(self) -> None:
        screen = self.mode_screen
        if self.screen is screen:
            self.push_screen(HelpScreen(screen.MODE, screen))

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        yield from self.mode_screen.commands()
        for name in self.MODES:
            if name != self.current_mode:
                yield SystemCommand(f"Go to {name}", f"The {name} mode", partial(self.action_mode, name))
        yield SystemCommand("Pause or resume", "Updates; tasks keep running (p)", self.action_pause)
        yield SystemCommand("Reload everything", "Read the whole store again (F5)", self.action_read_again)
        yield SystemCommand("Keys", "About this screen, and its keys (?)", self.action_help)
        yield SystemCommand("Theme", "Change the colours", self.action_change_theme)
        yield SystemCommand("Quit", "The tasks keep running (q)", partial(self.run_action, "quit"))


async def _caught_up(field: Input) -> None:
    """Wait until a field has handled every key sent to it, unless it is being removed."""
    done = asyncio.Event()
    if field.call_later(done.set):
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(done.wait(), 0.5)


def make_app() -> Dashboard:
    """The dashboard over the settings in force; `run()` it in a terminal."""
    return Dashboard()
