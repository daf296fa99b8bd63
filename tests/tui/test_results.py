"""The results mode: recomputed curves and tables, images one by one, export."""

from __future__ import annotations

import json

import pytest
from dashboard_store import Synthetic
from piloting import on_screen, until
from test_app import type_at_once
from test_sweeps import text_of
from textual.widgets import Input, OptionList

from rsctl.results.rounding import percent
from rsctl.results.sweep import sweep_results
from rsctl.tui.dialogs.prompt import ChooseScreen, PromptScreen
from rsctl.tui.results.samples import SamplesScreen
from rsctl.tui.widgets.chart import Chart
from rsctl.tui.widgets.grid import Grid


def results_grid(app) -> Grid:
    return app.mode_screen.query_one("#results-grid", Grid)


def cell(app, row: int, column: int) -> str:
    found = results_grid(app).rows[row].cells[column]
    return found if isinstance(found, str) else "".join(text for text, _ in found)


async def open_results(app, pilot, sweep: str) -> None:
    app.screen.query_one("#sweeps-grid", Grid).move_to(sweep)
    await pilot.press("2")
    await until(pilot, lambda: app.current_mode == "results" and results_grid(app).rows, "the table")
    await until(pilot, lambda: "reading" not in cell(app, -1, 1), "every row")


def test_the_table_is_what_export_says(synthetic: Synthetic, drive) -> None:
    async def steps(app, pilot):
        await open_results(app, pilot, "finished")
        expected = sweep_results(synthetic.store, "finished")
        for place, row in enumerate(expected.rows):
            assert cell(app, place, 1) == "60"
            assert [cell(app, place, 2 + i) for i in range(4)] == [percent(c.accuracy) for c in row.cells]
        await pilot.press("i")
        low, high = expected.rows[0].cells[0].interval
        assert percent(low) in cell(app, 0, 2)
        assert f"{high * 100:.0f}"[:2] in cell(app, 0, 2)

    drive(steps)


def test_alpha_and_certificate_are_recomputed(synthetic: Synthetic, drive) -> None:
    async def steps(app, pilot):
        await open_results(app, pilot, "finished")
        before = cell(app, 0, 3)
        await pilot.press("a")
        assert isinstance(app.screen, PromptScreen)
        for wrong, said in (("2", "between 0 and 1"), ("x", "is not a number")):
            app.screen.query_one(Input).value = wrong
            await pilot.press("enter")
            assert said in str(app.screen.query_one("#ask-problem").render())
        app.screen.query_one(Input).value = "0.4"
        await pilot.press("enter")
        await until(pilot, lambda: cell(app, 0, 1) == "60", "new numbers")
        expected = sweep_results(synthetic.store, "finished", alpha=0.4)
        assert cell(app, 0, 3) == percent(expected.rows[0].cells[1].accuracy)
        assert float(cell(app, 0, 3)) > float(before)
        facts = app.screen.query_one("#results-facts")
        assert "probabilistic 0.6 per image" in str(facts.render())
        await pilot.press("C")
        assert isinstance(app.screen, ChooseScreen)
        names = [name for name, _ in app.screen._options]
        app.screen.query_one(OptionList).highlighted = names.index("cohen")
        await pilot.press("enter")
        assert app.mode_screen.question.certificate == "cohen"

    drive(steps)


def test_certificates_that_refuse_these_counts_say_why(synthetic: Synthetic, drive) -> None:
    async def steps(app, pilot):
        await open_results(app, pilot, "finished")
        await until(pilot, lambda: app.mode_screen._complete, "every curve")
        await pilot.press("C")
        shown = {str(option.prompt): option.prompt for option in app.screen.query_one(OptionList).options}
        refused = shown["second-order  needs the sums of the noise that left the class"]
        assert (str(refused.style), str(shown["cohen"].style)) == ("dim", "")
        app.screen.query_one(OptionList).highlighted = list(shown.values()).index(refused)
        await pilot.press("enter")
        await until(pilot, lambda: cell(app, 0, 1) == "refused", "the refusal")
        # What was computed anew has no counts that would say otherwise.
        await pilot.press("C")
        assert "second-order  needs the sums of the noise that left the class" in [
            str(option.prompt) for option in app.screen.query_one(OptionList).options
        ]

    drive(steps)


def test_a_partial_run_says_of_how_many_images_it_speaks(synthetic: Synthetic, drive) -> None:
    async def steps(app, pilot):
        await open_results(app, pilot, "going")
        assert cell(app, 0, 1) == "1 of 60"
        assert cell(app, 1, 1) == "none yet"

    drive(steps)


def test_space_draws_and_the_cursor_has_the_band(synthetic: Synthetic, drive) -> None:
    async def steps(app, pilot):
        await open_results(app, pilot, "finished")
        chart = app.screen.query_one(Chart)
        assert [bool(len(series.low)) for series in chart.series] == [True, False]
        await pilot.press("space")
        await pilot.press("down")
        assert len(chart.series) == 1
        await pilot.press("up", "space")
        assert len(chart.series) == 2
        assert "Certified accuracy" in text_of(chart)

    drive(steps)


def test_images_one_by_one(synthetic: Synthetic, drive) -> None:
    async def steps(app, pilot):
        await open_results(app, pilot, "finished")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, SamplesScreen), "the images")
        grid = app.screen.query_one(Grid)
        assert len(grid.rows) == 60
        indices = [int(row.key) for row in grid.rows]
        assert indices == sorted(indices)
        await pilot.press("s")
        radii = [float(row.cells[3]) for row in grid.rows]
        assert radii == sorted(radii, reverse=True)
        assert grid.cursor == 0, "the largest are out of sight"
        await pilot.press("question_mark")
        await until(pilot, lambda: any("frequent class" in line for line in on_screen(app)), "its help")
        await pilot.press("q")
        await pilot.press("s", "s", "q")
        assert not isinstance(app.screen, SamplesScreen)

    drive(steps)


def test_export_replaces_its_own_file_and_no_other(synthetic: Synthetic, drive, tmp_path) -> None:
    async def steps(app, pilot):
        await open_results(app, pilot, "finished")
        other = tmp_path / "notes.txt"
        other.write_text("mine")
        for place in range(3):
            await pilot.press("w")
            app.screen.query_one(OptionList).highlighted = 3
            await pilot.press("enter")
            assert isinstance(app.screen, PromptScreen)
            app.screen.query_one(Input).value = ""
            await pilot.press("enter")
            assert "Enter a file name" in str(app.screen.query_one("#ask-problem").render())
            app.screen.query_one(Input).value = str(tmp_path / ("notes.txt" if place == 2 else "table.json"))
            await pilot.press("enter")
            if place == 2:
                await until(
                    pilot,
                    lambda: "wasn't written by rsctl" in str(app.screen.query_one("#ask-problem").render()),
                    "refusal",
                )
                await pilot.press("escape")
                continue
            await until(pilot, lambda: any("written" in m.message for m in app._notifications), "file")
            app.clear_notifications()
        assert other.read_text() == "mine"
        assert len(json.loads((tmp_path / "table.json").read_text())["rows"]) == 8
        await pilot.press("w")
        app.screen.query_one(OptionList).highlighted = 4
        await pilot.press("enter")
        app.screen.query_one(Input).value = str(tmp_path / "logs")
        await pilot.press("enter")
        await until(pilot, lambda: any("logs into" in n.message for n in app._notifications), "logs")
        (first, *_) = sorted((tmp_path / "logs").glob("*.tsv"))
        assert first.read_text().startswith("idx\tlabel\tpredict\tradius\tcorrect")

    drive(steps)


def test_what_the_filter_shows_is_drawn_and_exported(synthetic: Synthetic, drive, tmp_path) -> None:
    async def export(app, pilot, form, file):
        await pilot.press("w")
        app.screen.query_one(OptionList).highlighted = form
        await pilot.press("enter")
        said = str(app.screen.query_one("#ask-help").render())
        app.screen.query_one(Input).value = str(tmp_path / file)
        await pilot.press("enter")
        await until(pilot, lambda: any(file in n.message for n in app._notifications), file)
        return said

    async def steps(app, pilot):
        await open_results(app, pilot, "finished")
        assert "Runs: all 2." in await export(app, pilot, 3, "all.json")
        type_at_once(app, "slash", *"sigma", "colon", *"0", "full_stop", *"5", "enter")
        await until(pilot, lambda: len(app.screen.grid.rows) == 1, "the run at σ 0.5")
        assert [series.label for series in app.screen.query_one(Chart).series] == ["gaussian σ 0.5"]
        assert "Runs: 1 of 2, those of the filter 'sigma:0.5'." in await export(app, pilot, 3, "some.json")
        await export(app, pilot, 4, "logs")
        type_at_once(app, "slash", *"none")
        await until(pilot, lambda: not app.screen.grid.rows, "an empty table")
        await pilot.press("enter", "w")
        assert not isinstance(app.screen, ChooseScreen)
        await pilot.press("escape")
        assert len(app.screen.grid.rows) == 2

    drive(steps)
    every, some = (json.loads((tmp_path / name).read_text()) for name in ("all.json", "some.json"))
    assert {row["sigma"] for row in every["rows"]} == {0.25, 0.5}
    assert {row["sigma"] for row in some["rows"]} == {0.5}
    assert [note for note in some["notes"] if "left out: 1 run of the sweep" in note and "sigma:0.5" in note]
    assert [file.name.rpartition("sigma_")[2] for file in (tmp_path / "logs").glob("*.tsv")] == ["0.5.tsv"]


def test_a_baseline_of_other_data_is_not_offered(synthetic: Synthetic, drive) -> None:
    async def steps(app, pilot):
        await open_results(app, pilot, "finished")
        await pilot.press("b")
        assert any("No published results" in n.message for n in app._notifications)
        await pilot.press("o")
        assert isinstance(app.screen, ChooseScreen)
        await pilot.press("home", "enter")
        await until(pilot, lambda: app.mode_screen.question.sweep == "going", "the other sweep")

    drive(steps)


@pytest.mark.parametrize("size", [(80, 24), (160, 48)])
def test_columns_out_of_sight_are_reached(synthetic: Synthetic, drive, size) -> None:
    async def steps(app, pilot):
        await open_results(app, pilot, "finished")
        if "At cap" not in text_of(results_grid(app)):
            await pilot.press(*["right"] * 9)
            assert "At cap" in text_of(results_grid(app))
            await pilot.press(*["left"] * 9)
        assert "0.25" in text_of(results_grid(app)).split("\n")[0]

    drive(steps, size)
