"""A pane is added with one class and one line of registration."""

from __future__ import annotations

import sys
from importlib import import_module

from dashboard_store import Synthetic
from piloting import on_screen, until
from textual.widgets import Static

import rsctl.tui.sweeps
from rsctl.tui.app import Dashboard
from rsctl.tui.sweeps import panes
from rsctl.tui.sweeps.selection import Selection


class SizePane(Static):
    """The worked example of `Pane`'s docstring."""

    KEY, TITLE, EMPTY = "z", "Size", "Select a run."

    def select(self, selection: Selection) -> None:
        self.update(self.EMPTY)

    def load(self, selection: Selection) -> int | None:
        if selection.run is None:
            return None
        folder = selection.store / selection.run.entry["kind"] / selection.run.counts
        return sum(file.stat().st_size for file in folder.rglob("*"))

    def show(self, data: int) -> None:
        self.update(f"{data:,} bytes")


def test_a_new_pane_is_in_the_dashboard(synthetic: Synthetic, drive, monkeypatch) -> None:
    monkeypatch.setattr(panes, "PANES", [*panes.PANES, SizePane])
    for name in ("panel", "screen"):
        monkeypatch.setattr(rsctl.tui.sweeps, name, getattr(rsctl.tui.sweeps, name))
        monkeypatch.delitem(sys.modules, f"rsctl.tui.sweeps.{name}")
    screen = import_module("rsctl.tui.sweeps.screen").SweepsScreen
    monkeypatch.setitem(Dashboard.MODES, "sweeps", screen)

    async def steps(app, pilot):
        await pilot.press("z")
        assert any(SizePane.EMPTY in line for line in on_screen(app)), "the cursor is on a sweep"
        assert any("z Size" in line for line in on_screen(app)), "its tab"
        await pilot.press("down")
        await until(pilot, lambda: any(" bytes" in line for line in on_screen(app)), "what it loaded")
        await pilot.press("left_square_bracket")
        assert app.screen.panel.here == "Details"
        await pilot.press("question_mark")
        await until(
            pilot, lambda: any("Panel: size" in line for line in on_screen(app)), "its key in the help"
        )

    drive(steps)


def test_the_example_is_the_one_in_the_docstring() -> None:
    """What `Pane` shows as an example is what the test above runs."""
    from inspect import getsource

    from rsctl.tui.sweeps.panes.pane import Pane

    lines = [line.strip() for line in str(Pane.__doc__).splitlines()]
    code = [line.strip() for line in getsource(SizePane).splitlines() if '"""' not in line]
    text = "\n".join(line for line in lines if line)
    assert "\n".join(line for line in code if line) in text
