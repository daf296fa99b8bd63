"""What somebody sees who has just begun: an empty store, and the way to a first sweep."""

from __future__ import annotations

from pathlib import Path

import pytest
from dashboard_store import make_store
from piloting import on_screen, until


def test_an_empty_store_says_where_to_begin(tmp_path: Path, drive, monkeypatch: pytest.MonkeyPatch) -> None:
    make_store(tmp_path, monkeypatch)

    async def steps(app, pilot):
        await until(
            pilot,
            lambda: any("No sweeps yet. Press 3 to create one." in line for line in on_screen(app)),
            "the hint",
        )
        assert not any("Reading" in line for line in on_screen(app))
        await pilot.press("2")
        await until(
            pilot,
            lambda: any("No sweeps yet. Press 3 to create one." in line for line in on_screen(app)),
            "the hint",
        )
        assert not any("This sweep has" in line for line in on_screen(app))

    drive(steps, (80, 24))
