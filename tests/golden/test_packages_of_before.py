"""The store of the first release, packed and unpacked: every kind of run and table is the same on the other side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chain import Chain
from package_cases import forged, hdf5_edit

from rsctl.cli.app import run as command
from rsctl.package.unpacking import unpack
from rsctl.package.verifying import verify
from rsctl.package.writing import pack
from rsctl.report.tables.formats import render
from rsctl.results.sweep import sweep_results
from rsctl.store.layout import Store


def tables(store: Store, sweep: str) -> list[str]:
    """Every table of a sweep, without its notes."""
    results = sweep_results(store, sweep)
    results.notes.clear()
    return [render(results, form) for form in ("md", "csv", "json", "latex")]


def _there_and_back(golden: Chain, names: list[str]) -> None:
    other = Store(golden.folder / "other")
    for name in names:
        file = golden.folder / f"{name}.rsctl"
        pack(golden.store, name, file)
        found = verify(file)
        assert found.verified, (name, found.findings)
        unpack(file, other)
        assert tables(other, name) == tables(golden.store, name), name


def test_counts_proofs_attacks_and_logs_are_equal_on_the_other_side(golden: Chain) -> None:
    _there_and_back(golden, ["main", "proofs", "looks"])


def test_sampling_that_ended_before_its_rule_is_named(golden: Chain) -> None:
    file = golden.folder / "looks.rsctl"
    pack(golden.store, "looks", file)

    def ends_early(table: Any) -> None:
        looks, draws = table["looks/counts"][()], table["looks/draws"][()]
        (row, *_) = np.flatnonzero((looks.sum(axis=2) > 0).sum(axis=1) > 1)
        looks[row, 1:] = 0
        counts, n = table["counts"][()], table["n"][()]
        counts[row], n[row] = looks[row, 0], draws[0]
        table["looks/counts"][...], table["counts"][...], table["n"][...] = looks, counts, n

    found = verify(forged(file, {"counts.h5": hdf5_edit(ends_early)}))
    assert any("its sampling ended before the rule" in one.text for one in found.findings), found.findings

    def contradicts(table: Any) -> None:
        looks = table["looks/counts"][()]
        looks[0, 0] = np.roll(looks[0, 0], 1)
        table["looks/counts"][...] = looks

    found = verify(forged(file, {"counts.h5": hdf5_edit(contradicts)}, name="contradicts.rsctl"))
    assert any("a count falls from one look to the next" in one.text for one in found.findings), (
        found.findings
    )


@pytest.mark.long
def test_every_sweep_is_equal_on_the_other_side(golden: Chain) -> None:
    names = [*golden.store.sweep_names(), *golden.store.import_only()]
    assert len(names) > 15
    _there_and_back(golden, names)


@pytest.mark.long
def test_figures_are_equal_on_the_other_side(golden: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    pack(golden.store, "main", golden.folder / "main.rsctl")
    unpack(golden.folder / "main.rsctl", Store(golden.folder / "other"))
    figures = []
    for store in ("store", "other"):
        monkeypatch.setenv("RSCTL_STORE", str(golden.folder / store))
        for kind in ("curve", "hours"):
            file = Path(f"{store}-{kind}.svg")
            assert command(["plot", "main", "-o", str(file), "--kind", kind]) == 0
            figures.append(
                [
                    line
                    for line in file.read_text().splitlines()
                    if line.lstrip().startswith(("<path", "<use", "L ", "M "))
                ]
            )
    assert figures[:2] == figures[2:]
    assert len(figures[0]) > 20
