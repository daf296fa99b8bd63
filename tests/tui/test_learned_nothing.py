"""A network that learned nothing, as the dashboard shows it: in the list of sweeps and runs, in details, and in the results."""

from __future__ import annotations

from dashboard_store import Synthetic
from piloting import on_screen, until
from test_results import cell, open_results, results_grid

from rsctl.store import degenerate
from rsctl.tui.results.chart import facts
from rsctl.tui.views import Curve
from rsctl.tui.widgets.grid import Grid


def test_it_is_marked_wherever_its_run_stands(synthetic: Synthetic, drive) -> None:
    dead = synthetic.models("finished")[1]
    degenerate.write(dead.path, degenerate.Tally([50] * 4, [0, 0, 200, 0], [0, 0, 50, 0]), training=True)

    async def steps(app, pilot):
        def shown(text: str) -> bool:
            return any(text in line for line in on_screen(app))

        grid = app.screen.query_one("#sweeps-grid", Grid)
        await until(pilot, lambda: shown("✓ done 1 dead"), "the sweep's mark")
        grid.move_to("finished")
        await pilot.press("right", "j", "j", "d")
        await until(pilot, lambda: shown("✓ done one class"), "the run's mark")
        await until(pilot, lambda: shown("LEARNED NOTHING"), "the reason")
        await open_results(app, pilot, "finished")
        marked = [i for i in range(len(results_grid(app).rows)) if "one class: " in cell(app, i, 0)]
        assert marked == [1]

    drive(steps)


def test_the_facts_of_a_curve_say_why() -> None:
    why = "ONE CLASS: the network gives"
    curve = Curve("r", "gaussian σ 0.5", "cohen", "g", "l2", 0.001, 100, 20, 20, warning=why)
    assert f"LEARNED NOTHING: {why}" in facts(curve, None).plain
