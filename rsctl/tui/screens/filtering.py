"""A filter on a mode's runs, typed in a line below them."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widget import Widget
from textual.widgets import Input, Static

from rsctl.errors import InputError
from rsctl.tui.filters import Filter, parse_filter
from rsctl.tui.screens.mode import ModeScreen


class Filtering(ModeScreen):
    """The part of a mode that chooses which runs are shown."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "Filter", key_display="/", tooltip="Filter; Esc shows every run again"),
        # The field itself would tell this screen by a message, later than the next key.
        Binding("enter", "keep", "Keep the filter", priority=True),
        Binding("escape,ctrl+g", "clear", "All", key_display="esc", tooltip="Show every run again"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.only: Filter | None = None
        """What runs have to be to be shown."""

    def filter_line(self) -> ComposeResult:
        """The field, out of sight until it is asked for, and what is wrong with what is typed."""
        yield Input(placeholder="state:failed method:gaussian sigma:>0.5", classes="filter")
        yield Static("", classes="filter-note", markup=False)

    def rows(self) -> Widget:
        """What is filtered."""
        raise NotImplementedError

    @property
    def _field(self) -> Input:
        return self.query_one(".filter", Input)

    def on_mount(self) -> None:
        self._field.cursor_blink = False
        self.rows().focus()

    def action_filter(self) -> None:
        """Type which runs to show."""
        self._field.display = True
        self.set_focus(self._field)  # at once, which `focus()` isn't

    def action_keep(self) -> None:
        """Go back to the runs that the filter shows."""
        # Word of what was typed comes later than the next key, which is for the runs that are left.
        self._apply(self._field.value)
        self.set_focus(self.rows())

    def action_clear(self) -> None:
        """Show every run again."""
        self._field.value = ""
        self._field.display = False
        self.query_one(".filter-note", Static).display = False
        self.set_focus(self.rows())
        self.refresh_bindings()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action not in ("filter", "keep", "clear") or not self.is_mounted:
            return action not in ("keep", "clear")
        if action == "clear":
            return self._field.display
        return self._field.has_focus == (action == "keep")

    def on_input_changed(self, _message: Input.Changed) -> None:
        self._apply(self._field.value)

    def _apply(self, text: str) -> None:
        note, overview = self.query_one(".filter-note", Static), self.dashboard.overview
        try:
            self.only = parse_filter(text, overview) if overview and text.strip() else None
        except InputError as error:
            note.update(str(error))
            note.display = True
            return
        note.display = False
        self.show_again()

    def show_again(self) -> None:
        if self.dashboard.overview:
            self.show(self.dashboard.overview)
