"""A dialog for texts that are too long for a toast."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from rsctl.plain import plain_lines


class ReadScreen(ModalScreen[None]):
    """Scrolls with the arrows; `y` copies all of it."""

    BINDINGS: ClassVar[list[BindingType]] = [("escape,ctrl+g,q", "dismiss", "Close"), ("y", "copy", "Copy")]

    def __init__(self, title: str, text: str) -> None:
        super().__init__()
        self._title, self._text = title, "\n".join(plain_lines(text))

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="read") as box:
            box.border_title = Text(self._title)
            box.border_subtitle = "y copies, q or Esc closes"
            yield Static(Text(self._text))

    def action_copy(self) -> None:
        self.app.copy_to_clipboard(self._text)
        self.notify("copied", markup=False)
