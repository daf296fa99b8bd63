"""Cells are cut to exactly the room they have, names so that what tells them apart stays."""

from __future__ import annotations

import pytest
from rich.cells import cell_len

from rsctl.catalog.labels import Labels
from rsctl.tui.compose.screen import COLUMNS as FORM
from rsctl.tui.results.rows import result_columns, sample_columns
from rsctl.tui.sweeps.rows import COLUMNS as SWEEPS
from rsctl.tui.widgets.cells import GridColumn, GridRow, fit, pieces, size_of, widths


@pytest.mark.parametrize("room", range(31))
@pytest.mark.parametrize("text", ["gaussian σ 0.25 · seed 0", "ℓ₂ 日本語日本語日本語x", ""])
def test_a_cut_text_fills_its_room(text: str, room: int) -> None:
    for middle in (False, True):
        assert cell_len(fit(text, room, False, middle)) == room


@pytest.mark.parametrize(
    ("room", "shown"),
    [
        (48, "logit-pairing σ 0.25 · seed 1 · weight 0.01     "),
        (42, "logit-pairing σ 0.25 seed 1 weight 0.01   "),
        (35, "logit-pairing σ 0.25 se… 1 we… 0.01"),
        (24, "logit… σ 0.25 s 1 w 0.01"),
    ],
)
def test_a_name_is_cut_where_it_says_least(room: int, shown: str) -> None:
    name = "logit-pairing σ 0.25 · seed 1 · weight 0.01"
    assert pieces(name, room, False, middle=True)[0][0] == shown


def test_names_of_runs_stay_apart_in_the_least_room() -> None:
    names = [
        f"σ {sigma} · seed {seed} · weight {weight}" for sigma in (0.25, 0.5) for seed in (0, 1) for weight in (0.01, 0.1)
    ]  # fmt: skip
    assert len({fit(name, 18, False, middle=True) for name in names}) == len(names)


def test_the_widths_fill_the_room_up_to_a_scroll_bar() -> None:
    columns = [GridColumn("name"), GridColumn("a", 8), GridColumn("b", 8, drop=1)]
    assert widths(columns, 22 + 1 + 8 + 1 + 8, 0) == ([21, 8, 8], 0)
    assert widths(columns, 22 + 1 + 8 + 1 + 7, 0) == ([29, 8, 0], 0)


def test_the_radius_of_an_image_is_in_sight_beside_names_of_classes() -> None:
    columns = sample_columns(Labels(names=("a class of sixteen",)))
    found, _ = widths(columns, 70, 0)
    assert {"Label", "Predicted", "Radius"} <= {
        c.title for c, size in zip(columns, found, strict=True) if size
    }


def test_columns_of_numbers_give_way_to_the_names_of_runs() -> None:
    name = (("━ ", "0"), ("at chance: ", "failed"), ("consistency σ 0.25", ""))
    columns = result_columns([0.0, 0.25, 0.5, 0.75, 1.0], False, [GridRow("a", (name,))])
    found, _ = widths(columns, 80, 0)
    assert found[0] >= 2 + size_of(name)


def test_a_word_of_a_name_is_cut_to_a_letter_without_an_ellipsis() -> None:
    assert fit("consistency σ 0.5 · seed 0", 22, False, middle=True).rstrip() == "consistency σ 0.5 s 0"


@pytest.mark.parametrize("columns", [SWEEPS, FORM])
def test_at_120_columns_rate_and_the_source_of_defaults_are_in_sight(columns: tuple[GridColumn, ...]) -> None:
    # Three fifths of the screen, less a scroll bar.
    found, _ = widths(columns, 120 * 3 // 5 - 1, 0)
    shown = {column.title for column, size in zip(columns, found, strict=True) if size}
    assert shown >= {"Rate", "Left"} or shown >= {"Value", "Default from"}
