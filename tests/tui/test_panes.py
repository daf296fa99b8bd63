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
    """A pane as ARCHITECTURE.md shows it; what it showed of a row stays while the store is read again."""

    KEY, TITLE, EMPTY = "z", "Size", "Select a run."

    row = ""

    def select(self, selection: Selection) -> None:
        if selection.key != self.row:
            self.row = selection.key
            self.update(self.EMPTY)

    def load(self, selection: Selection) -> int | None:
        if selection.run is None:
            return None
        folder = selection.store / selection.run.entry["kind"] / selection.run.counts
        return sum(file.stat().st_size for file in folder.rglob("*"))

    def show(self, data: int) -> None:
        self.update(f"{data:,} bytes")


class FurtherPane(SizePane):
    KEY, TITLE = "v", "Further"


def test_new_panes_are_in_the_dashboard(synthetic: Synthetic, drive, monkeypatch) -> None:
    monkeypatch.setattr(panes, "PANES", [*panes.PANES, FurtherPane, SizePane])
    for name in ("panel", "screen"):
        monkeypatch.setattr(rsctl.tui.sweeps, name, getattr(rsctl.tui.sweeps, name))
        monkeypatch.delitem(sys.modules, f"rsctl.tui.sweeps.{name}")
    screen = import_module("rsctl.tui.sweeps.screen").SweepsScreen
    monkeypatch.setitem(Dashboard.MODES, "sweeps", screen)

    async def steps(app, pilot):
        await pilot.press("z")
        assert any(SizePane.EMPTY in line for line in on_screen(app)), "the cursor is on a sweep"
        assert any(" d  v  z Size" in line for line in on_screen(app)), "its tab, where not all names fit"
        await pilot.press("down")
        await until(pilot, lambda: any(" bytes" in line for line in on_screen(app)), "what it loaded")
        before = app.overview
        await until(pilot, lambda: app.overview is not before, "a new overview")
        assert any(" bytes" in line for line in on_screen(app)), "it stays"
        await pilot.press("left_square_bracket")
        assert app.screen.panel.here == "Further"
        await pilot.press("question_mark")
        await until(
            pilot, lambda: any("Panel: size" in line for line in on_screen(app)), "its key in the help"
        )

    drive(steps)
