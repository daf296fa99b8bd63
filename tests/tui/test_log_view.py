"""The log of a task: searched, wrapped, marked and copied."""

from __future__ import annotations

from pathlib import Path

import pytest
from dashboard_store import Synthetic
from piloting import until
from test_sweeps import text_of
from textual.widgets import Input, OptionList

from rsctl.plan.tasks import Task
from rsctl.tui.app import Dashboard
from rsctl.tui.sweeps import log_search
from rsctl.tui.sweeps.log_view import LogView


@pytest.mark.parametrize("chunk", [20, 50, 10**6])
def test_a_text_is_found_in_both_directions_whatever_the_chunks(tmp_path: Path, monkeypatch, chunk) -> None:
    monkeypatch.setattr(log_search, "_CHUNK", chunk)
    lines = [f"line {i} " + "x" * (i % 37) for i in range(300)]
    lines[0], lines[150], lines[299] = "needle A", "and a Needle", "the NEEDLE"
    path = tmp_path / "log"
    path.write_text("\n".join(lines))
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line) + 1)
    below, byte = [], 0
    for _ in range(5):
        found = log_search.find_text(path, "needle", byte, forward=True)
        if found is None:
            break
        below.append(starts.index(found))
        byte = starts[below[-1] + 1]
    assert below == [0, 150, 299]
    above, byte = [], path.stat().st_size
    for _ in range(5):
        found = log_search.find_text(path, "NEEDLE", byte, forward=False)
        if found is None:
            break
        above.append(starts.index(found))
        byte = found
    assert above == [299, 150, 0]
    assert log_search.find_text(path, "no such", 0, forward=True) is None
    assert log_search.find_text(path, "needle", 10**9, forward=True) is None


LONG = "RuntimeError: " + "0123456789" * 40


@pytest.fixture
def logged(synthetic: Synthetic) -> Synthetic:
    lines = [f"step {i}" for i in range(400)]
    lines[20], lines[200] = "warning: Slow disk", LONG
    synthetic.log(Task(synthetic.models("going")[1], 0), "\n".join(lines).encode() + b"\n")
    return synthetic


async def at_the_log(app, pilot) -> LogView:
    await pilot.press("down", "down", "l")
    log = app.screen.query_one(LogView)
    await until(pilot, lambda: log.window is not None, "log")
    log.focus()
    await pilot.pause()
    return log


def test_slash_searches_the_log_and_n_goes_on(logged: Synthetic, drive, monkeypatch) -> None:
    copied: list[str] = []
    monkeypatch.setattr(Dashboard, "copy_to_clipboard", lambda _app, text: copied.append(text))

    async def steps(app, pilot):
        log = await at_the_log(app, pilot)
        await pilot.press("home", "slash", *"slow", "enter")
        await until(pilot, lambda: "Slow disk" in log.line(), "the line")
        await until(pilot, lambda: "Slow disk" in text_of(log), "the line in sight")
        await pilot.press("n")
        await until(
            pilot, lambda: any("below this line" in n.message for n in app._notifications), "word of it"
        )
        await pilot.press("slash")
        app.screen.query_one(Input).value = "step 30"
        await pilot.press("enter")
        await until(pilot, lambda: log.line() == "step 30", "the first")
        await pilot.press("n")
        await until(pilot, lambda: log.line() == "step 300", "the next")
        await pilot.press("N")
        await until(pilot, lambda: log.line() == "step 30", "the one before")
        await pilot.press("y")
        app.screen.query_one(OptionList).highlighted = 0
        await pilot.press("enter")

    drive(steps)
    assert copied == ["step 30"]


def test_long_lines_wrap_on_request(logged: Synthetic, drive) -> None:
    async def steps(app, pilot):
        log = await at_the_log(app, pilot)
        await pilot.press("E")
        await until(pilot, lambda: LONG[:20] in text_of(log), "the error")
        assert LONG not in text_of(log).replace("\n", "")
        await pilot.press("z")
        assert LONG in "".join(line.rstrip() for line in text_of(log).split("\n"))
        await pilot.resize_terminal(160, 48)
        await pilot.pause()
        assert LONG in "".join(line.rstrip() for line in text_of(log).split("\n"))
        await pilot.press("z")
        assert LONG not in text_of(log).replace("\n", "")
        await pilot.press("end")
        await until(pilot, lambda: "step 399" in text_of(log), "the end")

    drive(steps)


def test_text_of_a_log_can_be_selected(logged: Synthetic, drive) -> None:
    async def steps(app, pilot):
        log = await at_the_log(app, pilot)
        await pilot.press("home")
        await pilot.pause()
        await pilot.mouse_down(log, offset=(0, 1))
        await pilot.hover(log, offset=(3, 2))
        await pilot.mouse_up(log, offset=(3, 2))
        assert app.screen.get_selected_text().startswith("step 1\nste")

    drive(steps)
