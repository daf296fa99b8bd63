"""Cells are cut to exactly the room they have, names so that what tells them apart stays."""

from __future__ import annotations

import pytest
from rich.cells import cell_len

from rsctl.tui.screens.compose import COLUMNS as FORM
from rsctl.tui.sweep_rows import COLUMNS as SWEEPS
from rsctl.tui.widgets.cells import Column, fit, pieces, widths


@pytest.mark.parametrize("room", range(31))
@pytest.mark.parametrize("text", ["gaussian σ 0.25 · seed 0", "ℓ₂ 日本語日本語日本語x", ""])
def test_a_cut_text_fills_its_room(text: str, room: int) -> None:
    for middle in (False, True):
        assert cell_len(fit(text, room, False, middle)) == room


def test_names_that_differ_at_the_end_stay_apart() -> None:
    names = [f"gaussian σ {sigma} · seed {seed}" for sigma in (0.25, 0.5) for seed in (0, 1)]
    shown = {pieces(name, 20, False, middle=True)[0][0] for name in names}
    assert len(shown) == len(names)
    assert "gaussia….25 · seed 1" in shown


def test_the_widths_fill_the_room_up_to_a_scroll_bar() -> None:
    columns = [Column("name"), Column("a", 8), Column("b", 8, drop=1)]
    assert widths(columns, 22 + 1 + 8 + 1 + 8, 0) == ([21, 8, 8], 0)
    assert widths(columns, 22 + 1 + 8 + 1 + 7, 0) == ([29, 8, 0], 0)


@pytest.mark.parametrize("columns", [SWEEPS, FORM])
def test_at_120_columns_rate_and_the_source_of_defaults_are_in_sight(columns: tuple[Column, ...]) -> None:
    # Three fifths of the screen, less a scroll bar.
    found, _ = widths(columns, 120 * 3 // 5 - 1, 0)
    shown = {column.title for column, size in zip(columns, found, strict=True) if size}
    assert shown >= {"Rate", "Left"} or shown >= {"Value", "Default from"}
