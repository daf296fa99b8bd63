"""A filter of a mode's runs, typed in a line below them."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widget import Widget
from textual.widgets import Input, Static

from rsctl.errors import InputError
from rsctl.tui.filters import Filter, parse_filter

if TYPE_CHECKING:
    from rsctl.tui.mode import ModeScreen

NO_MATCH = "No run matches the filter (Esc clears it)."


class FilterBar(Vertical):
    """A field, hidden until opened, and a line for its problem. Its screen calls it `filter_bar` and binds `KEYS`."""

    KEYS: ClassVar[list[BindingType]] = [
        Binding("slash", "part('filter_bar', 'open')", "Filter", key_display="/", tooltip="Filter runs; Esc clears the filter"),
        Binding("escape,ctrl+g", "part('filter_bar', 'clear')", "All", key_display="esc", tooltip="Clear the filter"),
    ]  # fmt: skip
    # The field itself would post a message, which arrives after the next key.
    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "keep", "Apply the filter", priority=True)]

    def __init__(self, rows: Widget) -> None:
        super().__init__()
        self._rows = rows
        self.only: Filter | None = None
        """The filter in force, None for all runs."""

    def compose(self) -> ComposeResult:
        yield Input(placeholder="state:failed method:gaussian sigma:>0.5", classes="filter")
        yield Static("", classes="filter-note", markup=False)

    @property
    def _field(self) -> Input:
        return self.query_one(Input)

    def on_mount(self) -> None:
        self._field.cursor_blink = False
        self._rows.focus()

    def allows(self, action: object) -> bool:
        """True if this action applies now."""
        return self._field.display if action == "clear" else not self._field.has_focus

    def open(self) -> None:
        self._field.display = True
        self.screen.set_focus(self._field)  # at once, which `focus()` isn't

    def action_keep(self) -> None:
        """Apply the filter and return to the runs."""
        # The field's message about its text arrives after the next key, which is meant for the filtered runs.
        self._apply(self._field.value)
        self.screen.set_focus(self._rows)

    def clear(self) -> None:
        """Clear the filter and show every run."""
        self._field.value = ""
        self._field.display = False
        self.query_one(Static).display = False
        self.screen.set_focus(self._rows)
        self.refresh_bindings()

    def on_input_changed(self, message: Input.Changed) -> None:
        message.stop()
        self._apply(self._field.value)

    def _apply(self, text: str) -> None:
        note, screen = self.query_one(Static), cast("ModeScreen", self.screen)
        overview = screen.dashboard.overview
        try:
            self.only = parse_filter(text, overview) if overview and text.strip() else None
        except InputError as error:
            note.update(str(error))
            note.display = True
            return
        note.display = False
        screen.show_again()
