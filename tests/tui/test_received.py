"""A sweep that was received in a package, as the dashboard shows it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from dashboard_store import Synthetic
from piloting import on_screen, until

from rsctl.package.unpacking import unpack
from rsctl.package.writing import pack
from rsctl.store.layout import Store


def test_a_received_sweep_looks_like_its_original_and_says_where_it_is_from(
    synthetic: Synthetic, drive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("failed", "going"):
        shutil.rmtree(synthetic.store.sweep_folder(name))
    pack(synthetic.store, "finished", tmp_path / "finished.rsctl")
    unpack(tmp_path / "finished.rsctl", Store(tmp_path / "other"), origin="the authors")
    screens: list[list[str]] = []

    async def steps(app, pilot):
        await until(pilot, lambda: any("finished" in line for line in on_screen(app)), "the sweep")
        sweeps = [line for line in on_screen(app) if "✓" in line]
        await pilot.press("2")
        await until(pilot, lambda: any("ACR" in line for line in on_screen(app)), "the results")
        await until(
            pilot, lambda: any("0.25" in line and "%" not in line for line in on_screen(app)), "its rows"
        )
        await until(pilot, lambda: not any("Reading" in line for line in on_screen(app)), "the curve")
        screens.append([*sweeps, *on_screen(app)[2:]])
        await pilot.press("1", "d")
        if len(screens) == 2:
            await until(
                pilot, lambda: any("from the authors" in line for line in on_screen(app)), "the origin"
            )

    drive(steps)
    monkeypatch.setenv("RSCTL_STORE", str(tmp_path / "other"))
    drive(steps)
    assert screens[0] == screens[1]
