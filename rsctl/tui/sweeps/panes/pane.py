"""The contract of a pane: one view of the row under the cursor, in the panel beside the sweeps."""

from __future__ import annotations

from typing import Any, Protocol

from rsctl.tui.sweeps.selection import Selection


class Pane(Protocol):
    """A widget that shows one aspect of the selected sweep, run or task.

    A module of its own in this folder, and its place in `PANES` in `__init__.py`: the dashboard then lists it on the tab line,
    binds its key, puts it into the help and the command palette, and loads its data again every second while it is
    visible. `.github/ARCHITECTURE.md` shows one.

    `select` and `show` run on the UI thread and must not block: no files, no heavy imports. `load` runs on a background
    thread and must not touch widgets; an error in it becomes a message. A pane with state of its own, such as the log,
    adds key bindings like any widget.
    """

    KEY: str
    """Letter that shows the pane; means the same in every mode."""
    TITLE: str
    EMPTY: str
    """Text for a row that has nothing to show."""

    def select(self, selection: Selection) -> None:
        """Follow the cursor: called for another row (of another `key`), and for each new overview of the store."""

    def load(self, selection: Selection) -> Any:
        """Read the row's data on a background thread; None if there is none, or nothing has changed."""

    def show(self, data: Any) -> None:
        """Show what `load` returned; not called once the cursor is on another row."""
