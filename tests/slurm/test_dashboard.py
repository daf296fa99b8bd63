"""The dashboard over a real cluster: a controller that goes away for a minute, and comes back."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from sites import Site

from rsctl.tui.app import Dashboard, make_app
from rsctl.tui.widgets.grid import Grid
from rsctl.tui.widgets.topbar import TopBar


async def _until(pilot: Any, true: Any, what: str, seconds: float = 90.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"in {seconds:.0f} s there was no {what}"
        await pilot.pause(0.1)


def _states(app: Dashboard) -> set[str]:
    return {task.state for sweep in app.overview.sweeps for task in sweep.tasks} if app.overview else set()


@pytest.mark.parametrize("away", [3.0, pytest.param(60.0, marks=pytest.mark.long)])
def test_a_controller_that_is_away_is_told_with_its_age(site: Site, away: float) -> None:
    """What was last heard of the tasks stays; keys go on; afterwards everything is as it was."""
    site.behave(wait=True)
    site.sweep()
    site.submit()
    site.wait(lambda states: "running" in states)

    async def main() -> None:
        app = make_app()
        async with app.run_test(size=(120, 40)) as pilot:
            await _until(pilot, lambda: _states(app) >= {"running", "waiting"}, "running task")
            before = _states(app)
            site.cluster.stop_controller()
            try:
                await _until(
                    pilot, lambda: any("last heard at" in p for p in app.overview.problems), "word that it is away"
                )  # fmt: skip
                end = time.monotonic() + away
                while time.monotonic() < end:
                    assert _states(app) == before
                    pressed = time.monotonic()
                    await pilot.press("j", "k")
                    assert time.monotonic() - pressed < 3
                    await pilot.pause(0.5)
                await pilot.press("home", "d")
                details = app.screen.query_one("#Details Static")
                shown = "".join(strip.text for strip in details.render_lines(details.size.region))
                assert "controller" in shown
                assert "SLURM silent for" in app.screen.query_one(TopBar).render_line(0).text
                assert app.screen.query_one("#sweeps-grid", Grid).rows
            finally:
                site.cluster.start_controller()
            await _until(pilot, lambda: not app.overview.problems, "word from the controller again")
            assert _states(app) == before

    asyncio.run(main())
