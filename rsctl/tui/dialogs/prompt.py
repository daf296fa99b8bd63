"""Dialogs for a line of text or a choice among names; problems are shown below."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from functools import partial
from itertools import takewhile
from typing import ClassVar, cast

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from rsctl.errors import InputError, UserError
from rsctl.tui.background import Receiver
from rsctl.tui.host import Host

MOST_NAMES = 8
"""Completions shown at once."""
MOVES = (
    ("up", "cursor_up", "Up"),
    ("down", "cursor_down", "Down"),
    ("pageup", "page_up", "Page up"),
    ("pagedown", "page_down", "Page down"),
    ("home", "first", "First"),
    ("end", "last", "Last"),
)


class PromptScreen(Receiver, ModalScreen[str]):
    """A prompt. `check` raises a UserError for an invalid value; the dialog stays until it is valid or cancelled.

    With `attempt` it also stays while that runs: until it is dismissed, or `refuse` shows why it failed.
    `complete` returns the completions of the typed text; it is called on a background thread.
    `about` has a text for some names: that of the last typed name is shown.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        ("escape,ctrl+g", "dismiss", "Cancel"),
        # The field itself would post a message, which arrives after the next key.
        Binding("enter", "take", "Accept", priority=True),
        Binding("tab", "complete", "Complete", priority=True),
    ]

    def __init__(
        self,
        title: str,
        help_text: str,
        value: str,
        check: Callable[[str], object] = str,
        *,
        attempt: Callable[[str], None] | None = None,
        complete: Callable[[str], list[str]] | None = None,
        about: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        self._title, self._help, self._value, self._check = title, help_text, value, check
        self._attempt, self._complete, self._about = attempt, complete, about or {}
        self.trying = False
        """`attempt` was called and has no result yet."""

    def compose(self) -> ComposeResult:
        with Vertical(id="ask") as box:
            box.border_title = self._title
            completes = ", Tab completes" if self._complete else ""
            box.border_subtitle = f"Enter accepts{completes}, Esc or Ctrl+G cancels"
            yield Static(Text(self._help), id="ask-help")
            yield Input(self._value, id="ask-value")
            yield Static("", id="ask-names", markup=False)
            yield Static("", id="ask-about", markup=False)
            yield Static("", id="ask-problem", markup=False)

    def on_mount(self) -> None:
        self.query_one(Input).cursor_blink = False

    def action_take(self) -> None:
        """Return the typed text, if it is valid."""
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
        """Show a problem; the typed text stays."""
        self.trying = False
        self.query_one("#ask-problem", Static).update(problem)

    def on_input_changed(self, message: Input.Changed) -> None:
        last = message.value.rpartition(",")[2].strip()
        self.query_one("#ask-about", Static).update(self._about.get(last, ""))
        self._request_names(False)

    def action_complete(self) -> None:
        """Extend the typed text by the common prefix of its completions."""
        self._request_names(True)

    def _request_names(self, wanted: bool) -> None:
        if self._complete is not None:
            typed = self.query_one(Input).value
            show = partial(self._show_names, typed, wanted)
            cast("Host", self.app).background.submit("complete", partial(self._complete, typed), self, show)

    def _show_names(self, typed: str, wanted: bool, names: list[str]) -> None:
        """Show the completions of what was typed; `wanted`: requested with the Tab key."""
        field = self.query_one(Input)
        if field.value != typed:
            return
        if wanted and names:
            alike = takewhile(lambda letters: len(set(letters)) == 1, zip(*names, strict=False))
            field.value = "".join(letters[0] for letters in alike)
            field.cursor_position = len(field.value)
        # The typed text itself is no completion.
        names = [name for name in names if name != field.value]
        more = [f"and {len(names) - MOST_NAMES} more"] if len(names) > MOST_NAMES else []
        self.query_one("#ask-names", Static).update("  ".join([*names[:MOST_NAMES], *more]))


class Narrowing(Input):
    """The text that filters the names; as its first letter, the key `leaves` closes the dialog instead."""

    def __init__(self, leaves: str) -> None:
        super().__init__(placeholder="type to filter")
        self._leaves = leaves

    def check_consume_key(self, key: str, character: str | None) -> bool:
        leaves = key == self._leaves and not self.value
        return not leaves and super().check_consume_key(key, character)


class ChooseScreen(ModalScreen[str]):
    """A choice among names, filtered by the typed text."""

    BINDINGS: ClassVar[list[BindingType]] = [
        ("escape,ctrl+g", "dismiss", "Cancel"),
        Binding("q", "dismiss", "Cancel"),
        # The list itself would post a message, which arrives after the next key.
        Binding("enter", "take", "Select", priority=True),
        # The field would handle these keys itself, though it has only one line.
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
        """Names in `dim` can be chosen too, but their text is a reason against it; `about` explains the name under the cursor."""
        super().__init__()
        self._title, self._options, self._here, self._dim = title, list(options), here, dim
        self._about = about or {}
        self._left = self._options
        """The options that contain the typed text."""
        self._typed = ""
        self._leaves = "" if any(name.lower().startswith("q") for name, _ in self._options) else "q"
        """The key that cancels besides Esc, while nothing is typed and if no name begins with it."""

    def compose(self) -> ComposeResult:
        with Vertical(id="ask") as box:
            box.border_title = self._title
            box.border_subtitle = f"Enter selects, {'q or ' if self._leaves else ''}Esc cancels"
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
        """Keep the options that contain every typed word, those whose name begins with it first."""
        typed = self.query_one(Input).value.strip()
        if typed == self._typed:
            return
        self._typed = typed
        words = typed.lower().split()
        found = [one for one in self._options if all(word in " ".join(one).lower() for word in words)]
        self._left = sorted(found, key=lambda option: f".{typed}".lower() not in f".{option[0]}".lower())
        shown = self.query_one(OptionList)
        shown.clear_options()
        shown.add_options(self._shown())
        self._highlight()
        told = "" if self._left else f"No match for '{typed}'."
        self.query_one("#ask-problem", Static).update(told)

    def action_list(self, move: str) -> None:
        """Move in the list while the field has the focus."""
        getattr(self.query_one(OptionList), f"action_{move}")()

    def action_take(self) -> None:
        """Return the name under the cursor."""
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


def need_file(text: str) -> None:
    """Raises InputError for an empty file name."""
    if not text:
        raise InputError("Enter a file name.")
