"""Images of a package that are drawn again: equal counts on the same function, a two-sample test on another one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chain import Chain, tiny
from package_cases import forged, hdf5_edit, move_a_draw, packed
from report_cases import make_store

from rsctl.errors import InputError
from rsctl.package.redrawing import LEVEL, Pair, _compared, p_value
from rsctl.package.verifying import VerifiedPackage, verify
from rsctl.store.layout import Run
from rsctl.store.tables import read_table


def pair(one: list[int], other: list[int], *, same: bool) -> Pair:
    counts, selection = (np.array(one), np.array(other)), (np.array([10, 0]), np.array([10, 0]))
    return Pair(Run(Path("/store/counts/run-1")), 7, same, counts, selection)


def test_on_the_same_function_one_draw_more_is_a_difference() -> None:
    assert _compared(pair([900, 100], [900, 100], same=True), 5) is None
    found = _compared(pair([900, 100], [901, 99], same=True), 5)
    assert found
    assert "image 7" in found.text
    assert "must be equal" in found.text


def test_on_another_function_only_what_chance_cant_explain_is_a_difference() -> None:
    assert _compared(pair([900, 100], [905, 95], same=False), 5) is None
    found = _compared(pair([900, 100], [800, 200], same=False), 5)
    assert found
    assert "two-sample test" in found.text


def test_false_alarms_are_as_rare_as_the_level() -> None:
    """Exactly: the sum of the probabilities of all pairs of samples that the test calls different, for two classes of 12 draws."""
    from scipy.stats import binom

    n, level = 12, 0.05
    for p in (0.5, 0.9, 0.97):
        wrong = sum(
            binom.pmf(a, n, p) * binom.pmf(b, n, p)
            for a in range(n + 1)
            for b in range(n + 1)
            if p_value(np.array([a, n - a]), np.array([b, n - b])) < level
        )
        assert wrong <= level


def test_without_weights_nothing_is_drawn_again(tmp_path: Path) -> None:
    store, _ = make_store(tmp_path / "store")
    with pytest.raises(InputError, match="--weights"):
        verify(packed(store, tmp_path / "out"), redraw=1)


def elsewhere(file: Any) -> None:
    """The function of another machine."""
    functions = file["functions"].asstr()[()].tolist()
    del file["functions"]
    file["functions"] = [text.replace('"torch": "', '"torch": "0.') for text in functions]


@pytest.mark.long
def test_real_draws_repeat_and_forged_counts_dont(chain: Chain) -> None:
    chain.run_all(tiny())
    file = packed(chain.store, chain.folder / "out", "tiny", weights=True)
    found = verify(file, redraw=5)
    assert found.verified, found.findings
    assert _redrawn(found)["same_function"] == 5
    other = verify(forged(file, {"counts.h5": hdf5_edit(elsewhere)}, name="elsewhere.rsctl"), redraw=5)
    assert _redrawn(other)["same_function"] == 0
    assert not [one for one in other.findings if "drawn again" in one.text]

    def change(file: Any) -> None:
        for row in range(20):
            move_a_draw(file, row=row)

    for name, edits in {"forged": (change,), "both": (change, elsewhere)}.items():
        data = verify(
            forged(file, {"counts.h5": lambda data, edits=edits: _edited(data, edits)}, name=f"{name}.rsctl"),
            redraw=5,
        )
        assert len([one for one in data.findings if "drawn again" in one.text]) == 5, name
    assert _redrawn(found)["level"] == LEVEL


@pytest.mark.long
def test_a_level_sampled_as_needed_is_drawn_again_where_it_has_draws(chain: Chain) -> None:
    cascade = {"levels": [0.25, 0.5], "tau": 0.6, "order": "as-needed"}
    settings = {"n0": 10, "n": 100, "max_images": 12, "radii": [0.0], "certificates": ["cohen"]}
    chain.run_all(
        tiny(grid={"sigma": [0.25, 0.5]}, training={"epochs": 4}, certification=settings, cascade=cascade)
    )
    found = verify(packed(chain.store, chain.folder / "out", "tiny", weights=True), redraw=3)
    assert found.verified, found.findings
    for run, images in _redrawn(found)["drawn"].items():
        rows = read_table(chain.store.run("counts", run)).rows
        assert images
        assert rows.drawn[np.isin(rows.index, images)].all()
    assert len(_redrawn(found)["drawn"]) == 2


def _edited(data: bytes, edits: tuple[Any, ...]) -> bytes:
    for edit in edits:
        data = hdf5_edit(edit)(data)
    return data


def _redrawn(found: VerifiedPackage) -> dict[str, Any]:
    assert found.redrawn
    return found.redrawn
