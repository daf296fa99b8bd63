"""Asks for one line of text, or for one of several names; what is wrong is said below."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING, ClassVar, cast

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from rsctl.errors import UserError
from rsctl.tui.background import Answer

if TYPE_CHECKING:
    from rsctl.tui.app import Dashboard

MOST_NAMES = 8
"""Completions that are named at once."""
MOVES = (
    ("up", "cursor_up", "Up"),
    ("down", "cursor_down", "Down"),
    ("pageup", "page_up", "Page up"),
    ("pagedown", "page_down", "Page down"),
    ("home", "first", "First"),
    ("end", "last", "Last"),
)


class Completed(Answer):
    """Completions of what was typed."""

    def __init__(self, typed: str, names: list[str], wanted: bool) -> None:
        """`wanted`: the Tab key asked for it."""
        super().__init__()
        self.typed, self.names, self.wanted = typed, names, wanted


class AskScreen(ModalScreen[str]):
    """`check` raises a UserError for what can't be taken; the dialogue stays until it is right or given up.

    With `attempt` it also stays while that is tried: until it is dismissed, or told by `refuse` why it can't be.
    `complete` gives the texts that begin as what is typed does; it is called on a background thread. `about` has a text for
    some names: that of the last name that is typed is shown.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        ("escape,ctrl+g", "dismiss", "Leave it"),
        # The field itself would tell this screen by a message, later than the next key.
        Binding("enter", "take", "Take it", priority=True),
        Binding("tab", "complete", "Complete", priority=True),
    ]

    def __init__(
        self,
        title: str,
        help_text: str,
        value: str,
        check: Callable[[str], None],
        *,
        attempt: Callable[[str], None] | None = None,
        complete: Callable[[str], list[str]] | None = None,
        about: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        self._title, self._help, self._value, self._check = title, help_text, value, check
        self._attempt, self._complete, self._about = attempt, complete, about or {}
        self.trying = False
        """`attempt` was called, and nobody has said yet what came of it."""

    def compose(self) -> ComposeResult:
        with Vertical(id="ask") as box:
            box.border_title = self._title
            completes = ", Tab completes" if self._complete else ""
            box.border_subtitle = f"Enter takes it{completes}, Esc or Ctrl+G leaves it"
            yield Static(Text(self._help), id="ask-help")
            yield Input(self._value, id="ask-value")
            yield Static("", id="ask-names", markup=False)
            yield Static("", id="ask-about", markup=False)
            yield Static("", id="ask-problem", markup=False)

    def on_mount(self) -> None:
        self.query_one(Input).cursor_blink = False

    def action_take(self) -> None:
        """Answer with what is typed, if it can be taken."""
        value = self.query_one(Input).value.strip()
        try:
            self._check(value)
        except UserError as error:
            self.refuse(str(error))
            return
        if self._attempt is None:
            self.dismiss(value)
        elif not self.trying:
            self.trying = True
            self._attempt(value)

    def refuse(self, problem: str) -> None:
        """Say what is wrong; what is typed stays."""
        self.trying = False
        self.query_one("#ask-problem", Static).update(problem)

    def on_input_changed(self, message: Input.Changed) -> None:
        last = message.value.rpartition(",")[2].strip()
        self.query_one("#ask-about", Static).update(self._about.get(last, ""))
        self._look(False)

    def action_complete(self) -> None:
        """Go on with what is typed as far as only one name allows."""
        self._look(True)

    def _look(self, wanted: bool) -> None:
        if self._complete is not None:
            typed, complete = self.query_one(Input).value, self._complete
            cast("Dashboard", self.app).background.ask(
                "complete", lambda: Completed(typed, complete(typed), wanted), self
            )

    def on_completed(self, message: Completed) -> None:
        field = self.query_one(Input)
        if field.value != message.typed:
            return
        if message.wanted and message.names:
            alike = takewhile(lambda letters: len(set(letters)) == 1, zip(*message.names, strict=False))
            field.value = "".join(letters[0] for letters in alike)
            field.cursor_position = len(field.value)
        # That it could be what it is already is no news.
        names = [name for name in message.names if name != field.value]
        more = [f"and {len(names) - MOST_NAMES} more"] if len(names) > MOST_NAMES else []
        self.query_one("#ask-names", Static).update("  ".join([*names[:MOST_NAMES], *more]))


class Narrowing(Input):
    """The text that leaves fewer names; the key `leaves` isn't text where it would be the first letter."""

    def __init__(self, leaves: str) -> None:
        super().__init__(placeholder="type to see fewer")
        self._leaves = leaves

    def check_consume_key(self, key: str, character: str | None) -> bool:
        leaves = key == self._leaves and not self.value
        return not leaves and super().check_consume_key(key, character)


class ChooseScreen(ModalScreen[str]):
    """Asks for one of several names; those are left in which what is typed occurs."""

    BINDINGS: ClassVar[list[BindingType]] = [
        ("escape,ctrl+g", "dismiss", "Leave it"),
        Binding("q", "dismiss", "Leave it"),
        # The list itself would tell this screen by a message, later than the next key.
        Binding("enter", "take", "Take it", priority=True),
        # A field would take these for its own, though it has no line to move to.
        *(Binding(key, f"list('{name}')", text, priority=True) for key, name, text in MOVES),
    ]

    def __init__(
        self,
        title: str,
        options: Sequence[tuple[str, str]],
        here: str = "",
        dim: Container[str] = (),
        about: Mapping[str, str] | None = None,
    ) -> None:
        """Names in `dim` can be chosen, too, but their text says why one wouldn't; `about` explains the name under the cursor."""
        super().__init__()
        self._title, self._options, self._here, self._dim = title, list(options), here, dim
        self._about = about or {}
        self._left = self._options
        """Those in which what is typed occurs."""
        self._typed = ""
        self._leaves = "" if any(name.lower().startswith("q") for name, _ in self._options) else "q"
        """The key that leaves besides Esc, as long as nothing is typed and no name begins with it."""

    def compose(self) -> ComposeResult:
        with Vertical(id="ask") as box:
            box.border_title = self._title
            box.border_subtitle = f"Enter takes it, {'q or ' if self._leaves else ''}Esc leaves it"
            yield Narrowing(self._leaves)
            yield OptionList(*self._shown())
            yield Static("", id="ask-about", markup=False)
            yield Static("", id="ask-problem", markup=False)

    def on_mount(self) -> None:
        self.query_one(Input).cursor_blink = False
        self._highlight()

    def _highlight(self) -> None:
        names = [name for name, _ in self._left]
        at = names.index(self._here) if self._here in names and not self._typed else 0
        self.query_one(OptionList).highlighted = at if names else None

    def _shown(self) -> list[Option]:
        return [Option(_option(name, text, name in self._dim)) for name, text in self._left]

    def on_input_changed(self, _message: Input.Changed) -> None:
        self._narrow()

    def _narrow(self) -> None:
        """Leave those in which every word that is typed occurs, first those whose name begins so."""
        typed = self.query_one(Input).value.strip()
        if typed == self._typed:
            return
        self._typed = typed
        found = [
            option
            for option in self._options
            if all(word in " ".join(option).lower() for word in typed.lower().split())
        ]
        self._left = sorted(found, key=lambda option: f".{typed}".lower() not in f".{option[0]}".lower())
        shown = self.query_one(OptionList)
        shown.clear_options()
        shown.add_options(self._shown())
        self._highlight()
        told = "" if self._left else f"nothing here has '{typed}' in it; Backspace shows more"
        self.query_one("#ask-problem", Static).update(told)

    def action_list(self, move: str) -> None:
        """Move in the list, also while the cursor is in the field."""
        getattr(self.query_one(OptionList), f"action_{move}")()

    def action_take(self) -> None:
        """Answer with the name under the cursor."""
        self._narrow()
        place = self.query_one(OptionList).highlighted
        if place is not None:
            self.dismiss(self._left[place][0])

    def on_option_list_option_highlighted(self, message: OptionList.OptionHighlighted) -> None:
        name = self._left[message.option_index][0] if message.option_index < len(self._left) else ""
        self.query_one("#ask-about", Static).update(self._about.get(name, ""))

    def on_option_list_option_selected(self, message: OptionList.OptionSelected) -> None:
        self.dismiss(self._left[message.option_index][0])


def _option(name: str, text: str, dim: bool) -> Text:
    shown = Text(name, "dim" if dim else "")
    if text:
        shown.append(f"  {text}", "dim")
    return shown
