"""`?`: the guide to a screen and all its keys."""

from __future__ import annotations

from typing import Any, ClassVar

from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen, Screen
from textual.widgets import Static

from rsctl.report.tables.legend import MEANINGS
from rsctl.tui.widgets.data import data


class HelpScreen(ModalScreen[None]):
    """The keys of the screen below, as bound there, and the meaning of its column titles."""

    BINDINGS: ClassVar[list[BindingType]] = [("escape,ctrl+g,q,question_mark", "dismiss", "Close")]

    def __init__(self, name: str, below: Screen[Any]) -> None:
        """`name` is that of the screen's texts in guide.toml."""
        super().__init__()
        found = data("guide.toml")[name]
        self._title, self._guide, self._keys = (
            name.capitalize(),
            found["guide"],
            keys_of(below, found.get("keys", {})),
        )
        self._columns = found["columns"] | {head: MEANINGS[head] for head in found.get("legend", ())}

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


def keys_of(screen: Screen[Any], rows: dict[str, str]) -> list[tuple[str, str]]:
    """Keys and their meaning, of everything bound at the focus: the screen's own first, the dashboard's last.

    `rows` has the texts of a list's keys, by action.
    """
    found: dict[str, tuple[int, list[str], str]] = {}
    for active in screen.active_bindings.values():
        binding = active.binding
        ours = type(active.node).__module__.startswith("rsctl.")
        if (
            binding.description
            and ours
            and rows.get(binding.action, "here")
            and not binding.action.startswith(("page_", "scroll_", "screen.", "app.focus"))
        ):
            rank = 0 if active.node is screen else 2 if active.node is screen.app else 1
            text = rows.get(binding.action) or active.tooltip or binding.description
            found.setdefault(binding.action, (rank, [], text))[1].append(screen.app.get_key_display(binding))
    ordered = sorted(found.values(), key=lambda entry: entry[0])
    return [(", ".join(dict.fromkeys(keys)), text) for _, keys, text in ordered]
