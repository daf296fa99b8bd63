"""`?`: what the screen is for, and every key of it."""

from __future__ import annotations

from typing import ClassVar

from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static


class HelpScreen(ModalScreen[None]):
    """The keys of the screen below, as they are bound there, and what the heads of its columns mean."""

    BINDINGS: ClassVar[list[BindingType]] = [("escape,ctrl+g,q,question_mark", "dismiss", "Close")]

    def __init__(self, title: str, guide: str, keys: list[tuple[str, str]], columns: dict[str, str]) -> None:
        super().__init__()
        self._title, self._guide, self._keys, self._columns = title, guide, keys, columns

    def compose(self) -> ComposeResult:
        table = Table.grid(padding=(0, 3))
        for head, text in self._columns.items():
            table.add_row(Text(head, style="dim"), Text(text))
        table.add_row("", "")
        for key, text in self._keys:
            table.add_row(Text(key, style="bold"), Text(text))
        with VerticalScroll(id="help") as box:
            box.border_title = self._title
            box.border_subtitle = "q or Esc closes"
            yield Static(Text(self._guide), id="help-guide")
            yield Static(table)
