"""A filter of a mode's runs, typed in a line below them."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widget import Widget
from textual.widgets import Input, Static

from rsctl.errors import InputError
from rsctl.tui.filters import Filter, parse_filter
from rsctl.tui.mode import ModeScreen

NO_MATCH = "No run matches the filter (Esc clears it)."


class Filtering(ModeScreen):
    """The part of a mode that chooses which runs are shown."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "Filter", key_display="/", tooltip="Filter runs; Esc clears the filter"),
        # The field itself would post a message, which arrives after the next key.
        Binding("enter", "keep", "Apply the filter", priority=True),
        Binding("escape,ctrl+g", "clear", "All", key_display="esc", tooltip="Clear the filter"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.only: Filter | None = None
        """The filter in force, None for all runs."""

    def filter_line(self) -> ComposeResult:
        """The filter's field, hidden until opened, and the line for its problem."""
        yield Input(placeholder="state:failed method:gaussian sigma:>0.5", classes="filter")
        yield Static("", classes="filter-note", markup=False)

    def rows(self) -> Widget:
        """The widget with the filtered rows."""
        raise NotImplementedError

    @property
    def _field(self) -> Input:
        return self.query_one(".filter", Input)

    def on_mount(self) -> None:
        self._field.cursor_blink = False
        self.rows().focus()

    def action_filter(self) -> None:
        """Open the filter's field."""
        self._field.display = True
        self.set_focus(self._field)  # at once, which `focus()` isn't

    def action_keep(self) -> None:
        """Apply the filter and return to the runs."""
        # The field's message about its text arrives after the next key, which is meant for the filtered runs.
        self._apply(self._field.value)
        self.set_focus(self.rows())

    def action_clear(self) -> None:
        """Clear the filter and show every run."""
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
