"""Base of all modes: a first line, a body, and updates from each poll of the store."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, cast

from textual.app import ComposeResult, SystemCommand
from textual.binding import Binding, BindingType
from textual.events import Event
from textual.screen import Screen
from textual.widgets import Footer

from rsctl.plain import plain
from rsctl.text import counted
from rsctl.tui import actions
from rsctl.tui.background import Background, Failed, Receiver, Result
from rsctl.tui.dialogs.confirm import ConfirmScreen
from rsctl.tui.dialogs.prompt import ChooseScreen, PromptScreen
from rsctl.tui.host import Host
from rsctl.tui.views import Overview
from rsctl.tui.widgets.tabline import TabLine
from rsctl.tui.widgets.topbar import TopBar

MODE_KEYS = [("1", "Sweeps"), ("2", "Results"), ("3", "Compose"), ("4", "Cluster")]
"""Key and name; a mode's screen has this name in lower case."""
MOST_KEYS = 8


class ModeScreen(Receiver, Screen[None]):
    """One of the modes."""

    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (116, "-wide")]
    MODE: ClassVar[str] = ""
    """Its name, also that of its texts in guide.toml."""
    PANES: ClassVar[list[tuple[str, str]]] = []
    """Key, or nothing, and name of the panels that its tab line switches between."""
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
    def dashboard(self) -> Host:
        return cast("Host", self.app)

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
        self.show_again()
        self.dashboard.show_age()

    def show(self, overview: Overview) -> None:
        """Show a new overview of the store."""

    def show_again(self) -> None:
        """Show the latest overview again, after a change of what is shown of it."""
        if self.dashboard.overview:
            self.show(self.dashboard.overview)

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
        names = [name for _, name in self.PANES]
        if names:
            here = names.index(self.query_one(TabLine).here)
            self.action_pane(names[(here + by) % len(names)])

    def on_tab_line_selected(self, message: TabLine.Selected) -> None:
        self.action_pane(message.name)

    def action_pane(self, name: str) -> None:
        """Show a panel."""
        raise NotImplementedError

    def tick(self) -> None:
        """A second passed while this mode is on the screen."""

    def commands(self) -> Iterable[SystemCommand]:
        """The mode's entries in the command palette: what its keys do, and panels without a key."""
        for binding in (*type(self).BINDINGS, *ModeScreen.BINDINGS):
            if isinstance(binding, Binding):
                text = f"{binding.tooltip or binding.description} ({self.app.get_key_display(binding)})"
                yield SystemCommand(binding.description, text, partial(self.run_action, binding.action))
        for name in [name for key, name in self.PANES if not key]:
            yield SystemCommand(f"Panel: {name.lower()}", "([ and ])", partial(self.action_pane, name))

    def report(self, text: str, error: bool = False) -> None:
        self.notify(text, severity="error" if error else "information", markup=False)

    def confirm(self, title: str, text: str, yes: str, then: Callable[[], object], no: str = "No") -> None:
        """Run an action after confirmation."""

        def answered(answer: bool | None) -> None:
            if answer:
                then()

        self.app.push_screen(ConfirmScreen(title, text, yes, no), answered)

    def confirm_dropped(self, keys: Sequence[str]) -> None:
        """Offer to stop open tasks that an update dropped, if there are any: they keep running, and cost, unless cancelled."""
        if not keys:
            return
        it, what = "it" if len(keys) == 1 else "them", counted(len(keys), "dropped task")
        more = [f"… and {len(keys) - MOST_KEYS} more"] if len(keys) > MOST_KEYS else []
        listed = "\n".join([*keys[:MOST_KEYS], *more])
        text = f"No sweep needs {it} any more. Work done so far is kept.\n\n{listed}"
        job = partial(actions.cancel, what, list(keys))

        def stop() -> None:
            self.background.submit(f"act {what}", job, self, lambda done: self.report(done.text))

        self.confirm(f"Stop {counted(len(keys), 'task')}?", text, f"Stop {it}", stop, f"Let {it} run")

    def choose(
        self,
        title: str,
        options: Sequence[tuple[str, str]],
        then: Callable[[str], object],
        here: str = "",
        dim: Container[str] = (),
        about: Mapping[str, str] | None = None,
    ) -> None:
        """Call `then` with the chosen one of these names, unless cancelled."""

        def chosen(name: str | None) -> None:
            if name:
                then(name)

        self.app.push_screen(ChooseScreen(title, options, here, dim, about), chosen)

    def settle(self, problem: str = "") -> None:
        """End a dialog's attempt: close it or show the problem in it; if it was left already, show the problem here."""
        dialogue = self.app.screen
        if not isinstance(dialogue, PromptScreen) or not dialogue.trying:
            if problem:
                self.report(plain(problem, 600), error=True)
        elif problem:
            dialogue.refuse(plain(problem, 600))
        else:
            dialogue.dismiss()

    def on_failed(self, message: Failed) -> None:
        if message.handle is None:
            self.report(plain(message.text, 600), error=True)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "part" and self.is_mounted:
            part = getattr(self, str(parameters[0]))
            return part.allows(parameters[1]) if hasattr(part, "allows") else True
        return True

    def action_part(self, part: str, name: str) -> None:
        """Call a method of one of the screen's parts, such as its filter bar or its actions."""
        getattr(getattr(self, part), name)()


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
