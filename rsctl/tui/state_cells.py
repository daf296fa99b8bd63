"""States and warnings in the cells of a table, the same in every mode."""

from __future__ import annotations

from rsctl.tui.views import GLYPHS
from rsctl.tui.widgets.cells import Cell


def mark_of(warning: str) -> str:
    """The short form of a warning: `one class` or `at chance`."""
    return warning.partition(":")[0].lower()


def state_cell(state: str, text: str) -> Cell:
    return ((f"{GLYPHS[state]} {text}", state),)
