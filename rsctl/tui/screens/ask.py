"""Asks for one line of text; what is wrong with it is said below it."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from rsctl.errors import UserError

MANY = 20
"""More names than that are narrowed down by typing."""
MOVES = (
    ("up", "cursor_up", "Up"),
    ("down", "cursor_down", "Down"),
    ("pageup", "page_up", "Page up"),
    ("pagedown", "page_down", "Page down"),
)


class AskScreen(ModalScreen[str]):
    """`check` raises a UserError for what can't be taken; the dialogue stays until it is right or given up."""

    BINDINGS: ClassVar[list[BindingType]] = [
        ("escape,ctrl+g", "dismiss", "Leave it"),
        # The field itself would tell this screen by a message, later than the next key.
        Binding("enter", "take", "Take it", priority=True),
    ]

    def __init__(self, title: str, help_text: str, value: str, check: Callable[[str], None]) -> None:
        super().__init__()
        self._title, self._help, self._value, self._check = title, help_text, value, check

    def compose(self) -> ComposeResult:
        with Vertical(id="ask") as box:
            box.border_title = self._title
            box.border_subtitle = "Enter takes it, Esc or Ctrl+G leaves it"
            yield Static(Text(self._help), id="ask-help")
            yield Input(self._value, id="ask-value")
            yield Static("", id="ask-problem", markup=False)

    def on_mount(self) -> None:
        self.query_one(Input).cursor_blink = False

    def action_take(self) -> None:
        """Answer with what is typed, if it can be taken."""
        value = self.query_one(Input).value.strip()
        try:
            self._check(value)
        except UserError as error:
            self.query_one("#ask-problem", Static).update(str(error))
            return
        self.dismiss(value)


class ChooseScreen(ModalScreen[str]):
    """Asks for one of several names; of many, those are left in which what is typed occurs."""

    BINDINGS: ClassVar[list[BindingType]] = [
        ("escape,ctrl+g,q", "dismiss", "Leave it"),
        # The list itself would tell this screen by a message, later than the next key.
        Binding("enter", "take", "Take it", priority=True),
        # A field would take these for its own, though it has no line to move to.
        *(Binding(key, f"list('{name}')", text, priority=True) for key, name, text in MOVES),
    ]

    def __init__(
        self, title: str, options: Sequence[tuple[str, str]], here: str = "", dim: Container[str] = ()
    ) -> None:
        """Names in `dim` can be chosen, too, but their text says why one wouldn't."""
        super().__init__()
        self._title, self._options, self._here, self._dim = title, list(options), here, dim
        self._left = self._options
        """Those in which what is typed occurs."""
        self._typed = ""

    def compose(self) -> ComposeResult:
        many = len(self._options) > MANY
        with Vertical(id="ask") as box:
            box.border_title = self._title
            box.border_subtitle = (
                "Enter takes it, Esc leaves it" if many else "Enter takes it, q or Esc leaves it"
            )
            if many:
                yield Input(placeholder="type to see fewer")
            yield OptionList(*self._shown())

    def on_mount(self) -> None:
        for field in self.query(Input):
            field.cursor_blink = False
        names = [name for name, _ in self._options]
        if self._here in names:
            self.query_one(OptionList).highlighted = names.index(self._here)

    def _shown(self) -> list[Option]:
        return [Option(_option(name, text, name in self._dim)) for name, text in self._left]

    def on_input_changed(self, _message: Input.Changed) -> None:
        self._narrow()

    def _narrow(self) -> None:
        """Leave those in which every word that is typed occurs."""
        typed = "".join(field.value for field in self.query(Input)).lower()
        if typed == self._typed:
            return
        self._typed = typed
        self._left = [
            option
            for option in self._options
            if all(word in " ".join(option).lower() for word in typed.split())
        ]
        shown = self.query_one(OptionList)
        shown.clear_options()
        shown.add_options(self._shown())
        shown.highlighted = 0 if self._left else None

    def action_list(self, move: str) -> None:
        """Move in the list, also while the cursor is in the field."""
        getattr(self.query_one(OptionList), f"action_{move}")()

    def action_take(self) -> None:
        """Answer with the name under the cursor."""
        self._narrow()
        place = self.query_one(OptionList).highlighted
        if place is not None:
            self.dismiss(self._left[place][0])

    def on_option_list_option_selected(self, message: OptionList.OptionSelected) -> None:
        self.dismiss(self._left[message.option_index][0])


def _option(name: str, text: str, dim: bool) -> Text:
    shown = Text(name, "dim" if dim else "")
    if text:
        shown.append(f"  {text}", "dim")
    return shown
