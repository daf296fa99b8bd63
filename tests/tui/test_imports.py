"""Imported logs beside a sweep's own runs, and sweeps that consist of them alone."""

from __future__ import annotations

from pathlib import Path

from dashboard_store import Synthetic
from piloting import on_screen, until
from test_app import type_at_once
from test_results import cell, open_results, results_grid
from test_sweeps import grid_of, text_of
from textual.widgets import Static

from rsctl.cluster.status import status_text, status_values
from rsctl.report.radius_logs.import_logs import GivenFacts, import_logs
from rsctl.results.rounding import percent
from rsctl.results.sweep import sweep_results
from rsctl.tui.results.samples import SamplesScreen
from rsctl.tui.widgets.grid import Grid

LOG = "idx\tlabel\tpredict\tradius\tcorrect\ttime\n" + "".join(
    f"{20 * i}\t{i % 10}\t{i % 10 if i % 4 else -1}\t{0.1 * (i % 9) if i % 4 else 0.0:.3}\t{int(bool(i % 4))}\t0:00:01.5\n"
    for i in range(40)
)


def bring_in(made: Synthetic, sweep: str, folder: Path) -> None:
    file = folder / "logs" / "sodm" / "sigma_0.25.tsv"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(LOG)
    import_logs(made.store, sweep, [folder / "logs"], GivenFacts(n=1000, alpha=0.001, dataset="digits"))


def test_a_sweep_of_logs_alone_is_listed(synthetic: Synthetic, drive, tmp_path) -> None:
    bring_in(synthetic, "public", tmp_path)
    values = status_values(synthetic.place)
    assert [sweep["name"] for sweep in values["sweeps"]] == ["going", "finished", "failed", "public"]
    assert "1 imported log" in status_text(values)
    assert status_values(synthetic.place, "public")["sweeps"][0]["imports"]

    async def steps(app, pilot):
        await until(pilot, lambda: "public" in text_of(grid_of(app)), "the sweep")
        assert "public  1 log" in text_of(grid_of(app))
        grid_of(app).move_to("public")
        await pilot.press("right", "down")
        assert "sodm σ 0.25 (log)" in text_of(grid_of(app))
        for key in "tldc":  # no pane trips over a run without tasks
            await pilot.press(key)
        await pilot.press("x", "r", "R", "d")
        details = app.screen.query_one("#Details Static", Static)
        await until(
            pilot, lambda: "stored as" in "".join(s.text for s in details.render_lines(details.size.region)), "its details"
        )  # fmt: skip
        assert not app.overview.problems

    drive(steps)


def test_logs_stand_beside_own_runs_in_the_results(synthetic: Synthetic, drive, tmp_path) -> None:
    bring_in(synthetic, "finished", tmp_path)

    async def steps(app, pilot):
        await open_results(app, pilot, "finished")
        (row,) = sweep_results(synthetic.store, "finished").logged
        assert cell(app, 2, 0).endswith("sodm σ 0.25 (log)")
        assert cell(app, 2, 1) == "40"
        assert [cell(app, 2, 2 + i) for i in range(4)] == [percent(c.accuracy) for c in row.cells]
        results_grid(app).move_to(results_grid(app).rows[2].key)
        await until(
            pilot, lambda: "as logged (counts unknown)" in str(app.screen.query_one("#results-facts").render()), "its label"
        )  # fmt: skip
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, SamplesScreen), "the images")
        assert len(app.screen.query_one(Grid).rows) == 40
        assert {row.cells[4:6] for row in app.screen.query_one(Grid).rows} == {("", "")}, (
            "counts that nobody knows"
        )
        await pilot.press("q", "a")
        app.screen.query_one("Input").value = "0.01"
        await pilot.press("enter")
        await until(pilot, lambda: cell(app, 2, 1) == "refused", "word that it can't be derived")
        assert cell(app, 0, 1) == "60"
        type_at_once(app, "slash", *"sodm", "enter")
        await until(pilot, lambda: len(results_grid(app).rows) == 1, "the log alone")
        await until(
            pilot, lambda: any("Refused; the reason is below." in line for line in on_screen(app)), "why"
        )

    drive(steps)
