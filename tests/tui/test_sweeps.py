"""The sweeps mode: what is shown, and every key of it."""

from __future__ import annotations

from conftest import until
from dashboard_store import Synthetic
from textual.widgets import ContentSwitcher

from rsctl.tui.app import Dashboard
from rsctl.tui.widgets.certified import CertifiedPane
from rsctl.tui.widgets.chart import Chart
from rsctl.tui.widgets.grid import Grid


def text_of(widget) -> str:
    """What a widget that draws lines shows."""
    return "\n".join(widget.render_line(y).text.rstrip() for y in range(widget.size.height))


def grid_of(app: Dashboard) -> Grid:
    return app.screen.query_one("#sweeps-grid", Grid)


def test_the_newest_sweep_is_open_and_states_are_told(synthetic: Synthetic, drive) -> None:
    async def steps(app, pilot):
        shown = text_of(grid_of(app))
        assert [row.key for row in grid_of(app).rows if row.depth == 0] == ["going", "finished", "failed"]
        assert "gaussian σ 0.12" in shown
        assert "certifying" in shown
        assert "training" in shown
        assert "finished  2 runs" in shown
        assert "✗ failed" in shown

    drive(steps)


def test_the_curve_grows_while_shards_arrive(synthetic: Synthetic, drive) -> None:
    async def steps(app, pilot):
        await pilot.press("down")
        pane = app.screen.query_one(CertifiedPane)
        chart = pane.query_one(Chart)
        await until(pilot, lambda: chart.series, "curve")
        before = str(pane.query_one("Static").render())
        assert "cohen: probabilistic 0.999 per image" in before
        assert len(chart.series[0].low) == len(chart.series[0].xs)
        run = synthetic.counts("going")[0]
        synthetic.count(run, 1, share=1.0)
        synthetic.count(run, 0, share=1.0)
        await until(pilot, lambda: "60 of 60 images" in str(pane.query_one("Static").render()), "grown curve")
        assert "60 of 60 images" not in before

    drive(steps)


def test_the_cursor_stays_with_its_row_when_rows_appear_above(synthetic: Synthetic, drive) -> None:
    async def steps(app, pilot):
        grid = grid_of(app)
        grid.move_to("failed")
        await pilot.pause()
        synthetic.sweep("fresh", sigmas=[0.3], seeds=[0])
        await until(pilot, lambda: grid.rows[0].key == "fresh", "new sweep")
        assert grid.key == "failed"
        assert grid.rows[grid.cursor].key == "failed"

    drive(steps)


def test_rows_open_and_close_by_key_and_mouse(synthetic: Synthetic, drive) -> None:
    async def steps(app, pilot):
        grid = grid_of(app)
        await pilot.press("home", "left")
        assert [row.key for row in grid.rows] == ["going", "finished", "failed"]
        await pilot.press("right", "j", "enter")
        assert "certify 1" in text_of(grid)
        await pilot.press("left")
        assert "certify 1" not in text_of(grid)
        await pilot.click(Grid, offset=(0, len(grid.rows)))
        await pilot.pause()
        assert grid.key.startswith("failed")
        assert grid.rows[-1].depth == 1

    drive(steps)


def test_details_say_why(synthetic: Synthetic, drive) -> None:
    async def steps(app, pilot):
        grid_of(app).move_to("failed")
        await pilot.press("d")
        assert app.screen.query_one("#sweeps-panes", ContentSwitcher).current == "Details"
        details = app.screen.query_one("#Details Static")
        await until(pilot, lambda: "training diverged" in str(_rendered(details)), "reason")
        await pilot.press("c")
        assert app.screen.query_one("#sweeps-panes", ContentSwitcher).current == "Curve"

    drive(steps)


def _rendered(static) -> str:
    return "\n".join(strip.text for strip in static.render_lines(static.size.region))
