"""A confirmation dialog, shown before anything is started, stopped or removed."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Button, Static

from rsctl.plain import plain_lines


class ConfirmScreen(ModalScreen[bool]):
    """A question with its consequences; `y` confirms, everything else cancels.

    The text may be longer than the screen: it scrolls from its first line, and the buttons stay visible.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        ("y", "answer(True)", "Yes"),
        ("n,q,escape,ctrl+g", "answer(False)", "No"),
        ("left,right", "app.focus_next", "Other button"),
        Binding("up,k", "read(-1)", "Up"),
        Binding("down,j", "read(1)", "Down"),
        Binding("pageup", "read(-10)", "Page up"),
        Binding("pagedown", "read(10)", "Page down"),
    ]

    def __init__(self, title: str, text: str, yes: str = "", no: str = "No") -> None:
        """Without `yes`, nothing can be confirmed until `replace_text` supplies it."""
        super().__init__()
        self._title, self._text, self._yes, self._no = title, text, yes, no

    def compose(self) -> ComposeResult:
        with Vertical(id="confirm"):
            with VerticalScroll(id="confirm-body", can_focus=False):
                yield Static(id="confirm-text", markup=False)
            with Horizontal(id="confirm-buttons"):
                yield Button(Text(f"{self._no} (n)"), id="no", compact=True)
                yield Button(id="yes", variant="primary", compact=True)

    def on_mount(self) -> None:
        self._show()
        self.query_one("#no", Button).focus()

    def replace_text(self, title: str, text: str, yes: str) -> None:
        """Replace title, text and button, possibly before the dialog is mounted."""
        self._title, self._text, self._yes = title, text, yes
        if self.is_mounted:
            self._show()

    def _show(self) -> None:
        self.query_one("#confirm", Vertical).border_title = Text(self._title)
        self.query_one("#confirm-text", Static).update(Text(self._text))
        button = self.query_one("#yes", Button)
        button.label, button.display = Text(f"{self._yes} (y)"), bool(self._yes)

    def action_read(self, by: int) -> None:
        self.query_one("#confirm-body", VerticalScroll).scroll_relative(y=by, animate=False)

    def action_answer(self, yes: bool) -> None:
        """Confirm or cancel; without a `yes` button only cancelling works."""
        if self._yes or not yes:
            self.dismiss(yes)

    def on_button_pressed(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.id == "yes")


def shortened(text: str) -> str:
    """The first 40 lines of a text, as plain text."""
    return "\n".join(plain_lines(text)[:40])
