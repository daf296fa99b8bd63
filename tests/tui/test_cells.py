"""Cells are cut to exactly the room they have, names so that what tells them apart stays."""

from __future__ import annotations

import pytest
from rich.cells import cell_len

from rsctl.tui.widgets.cells import fit, pieces


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
