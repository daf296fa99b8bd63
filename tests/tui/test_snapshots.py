"""Whole screens as text, over a fixed store: what a change moves, cuts off or hides shows as a difference.

Plain text rather than pictures: a line that moved can be read in a diff, and a new release of a drawing
library changes nothing. After a change that is wanted: RSCTL_SNAPSHOTS=write python -m pytest tests/tui/test_snapshots.py
"""

from __future__ import annotations

import difflib
import os
import re
import socket
from pathlib import Path

import pytest
from dashboard_store import Synthetic, waits_for_its_model
from piloting import on_screen, settled, until
from test_results import cell

from rsctl.tui.widgets.chart import Chart

FOLDER = Path(__file__).parent / "snapshots"
MODES_END = 54
"""Where the first line's modes end: what follows is the path of the store and the age of the look."""


def picture(app) -> str:
    """The screen as text, without what differs from place to place."""
    lines = on_screen(app)
    lines[0] = lines[0][:MODES_END].rstrip()
    host = socket.gethostname().split(".")[0]
    masks = ((rf"\b{re.escape(host)}\b", "host"), (r" /\S+( .*)?$", " /…"), (r"\s+[▁-█]$", ""))
    # Also scroll bars: they move when a form gets a field.
    for pattern, mask in masks:
        lines = [re.sub(pattern, mask, line) for line in lines]
    return "\n".join(lines) + "\n"


async def curve(app, pilot) -> None:
    await pilot.press("down")
    await until(pilot, lambda: any(chart.series for chart in app.screen.query(Chart)), "the curve")


async def results(app, pilot) -> None:
    app.screen.query_one("#sweeps-grid").move_to("finished")
    await pilot.press("2")
    await until(pilot, lambda: app.current_mode == "results" and app.screen.grid.rows, "the table")
    await until(pilot, lambda: cell(app, -1, 1) == "60", "every row")


async def compose(app, pilot) -> None:
    await pilot.press("3")
    await until(pilot, lambda: app.current_mode == "compose" and app.screen.grid.rows, "the form")
    app.screen.grid.move_to("Noise and repetition sigma")


async def cluster(app, pilot) -> None:
    await pilot.press("4")
    await until(pilot, lambda: app.screen.query_one("#cluster-queue").rows, "the queue")
    await pilot.press("end", "m")
    await until(pilot, lambda: app.screen.query_one("#Profiles").rows, "the profiles")


async def help_(app, pilot) -> None:
    await until(pilot, lambda: any(chart.series for chart in app.screen.query(Chart)), "the curve beneath")
    await pilot.press("question_mark")


# A tall form would show every field that anybody adds.
@pytest.mark.parametrize(
    ("steps", "size"),
    [
        *((steps, size) for steps in (curve, results, cluster) for size in ((80, 24), (160, 48))),
        (compose, (80, 24)),
        (help_, (80, 24)),
    ],
)
def test_a_screen_looks_as_it_did(synthetic: Synthetic, drive, steps, size) -> None:
    waits_for_its_model(synthetic, "failed")
    file = FOLDER / f"{steps.__name__.strip('_')}-{size[0]}x{size[1]}.txt"
    found = []

    async def look(app, pilot):
        await steps(app, pilot)
        app.paused = True
        await settled(app)
        found.append(picture(app))

    drive(look, size)
    if os.environ.get("RSCTL_SNAPSHOTS") == "write":
        file.write_text(found[0], encoding="utf-8")
    wanted = file.read_text(encoding="utf-8")
    told = "\n".join(
        difflib.unified_diff(wanted.splitlines(), found[0].splitlines(), "before", "now", lineterm="")
    )
    assert found[0] == wanted, f"{file.name} differs:\n{told}"
