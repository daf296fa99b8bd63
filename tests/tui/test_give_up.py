"""A sweep is given up from the dashboard: what would go is listed first, and goes after a yes."""

from __future__ import annotations

import os
import time

from dashboard_store import Synthetic
from piloting import on_screen, until

from rsctl.tui.dialogs.confirm import ConfirmScreen
from rsctl.tui.widgets.grid import Grid


def test_a_sweep_is_given_up(synthetic: Synthetic, drive) -> None:
    runs = [*synthetic.models("finished"), *synthetic.counts("finished")]
    for run in runs:
        hour_ago = time.time() - 7200
        os.utime(run.path / "launch.json", (hour_ago, hour_ago))

    async def steps(app, pilot):
        grid = app.screen.query_one("#sweeps-grid", Grid)
        grid.move_to("finished")
        await pilot.press("X")
        assert isinstance(app.screen, ConfirmScreen)
        await until(pilot, lambda: app.screen._yes, "the list")
        assert all(run.id in app.screen._text for run in runs)
        assert "will be deleted permanently" in "\n".join(on_screen(app))
        await pilot.press("n")
        assert "finished" in synthetic.store.sweep_names()
        await pilot.press("X")
        await until(pilot, lambda: app.screen._yes, "the list")
        await pilot.press("y")
        await until(pilot, lambda: any("finished: deleted" in n.message for n in app._notifications), "word")
        await until(pilot, lambda: all(row.key != "finished" for row in grid.rows), "the others")

    drive(steps)
    assert "finished" not in synthetic.store.sweep_names()
    assert not any(run.path.exists() for run in runs)
    assert all(run.path.exists() for run in synthetic.models("going"))


def test_what_is_at_work_is_not_given_up(synthetic: Synthetic, drive) -> None:
    async def steps(app, pilot):
        app.screen.query_one("#sweeps-grid", Grid).move_to("going")
        await pilot.press("X")
        await until(pilot, lambda: "still running" in "\n".join(on_screen(app)), "the refusal")
        assert "Cancel them first (x)" in " ".join("".join(on_screen(app)).split())
        await pilot.press("y")
        assert isinstance(app.screen, ConfirmScreen)
        await pilot.press("q")

    drive(steps)
    assert "going" in synthetic.store.sweep_names()
