"""What the results mode does with a table: order it, draw it into a file, compare two of its runs."""

from __future__ import annotations

import re

from dashboard_store import Synthetic
from piloting import on_screen, until
from test_results import cell, open_results, results_grid
from textual.widgets import Input, OptionList

from rsctl.tui.app import Dashboard
from rsctl.tui.dialogs.prompt import ChooseScreen, PromptScreen
from rsctl.tui.dialogs.reading import ReadScreen


def column(app, number: int) -> list[float]:
    return [float(cell(app, row, number)) for row in range(len(results_grid(app).rows))]


def test_runs_are_ordered_by_a_column(synthetic: Synthetic, drive) -> None:
    synthetic.sweep("several", sigmas=[0.25, 0.5, 1.0], seeds=[0])
    synthetic.complete("several")

    async def steps(app, pilot):
        await open_results(app, pilot, "several")
        titles = [one.title for one in results_grid(app).columns]
        planned = [cell(app, row, 0) for row in range(3)]
        place = titles.index("0.5")
        assert column(app, place) != sorted(column(app, place), reverse=True)
        x = sum(width + 1 for width in results_grid(app)._widths[:place] if width) + 1
        await pilot.click(results_grid(app), offset=(x, 1))
        await pilot.pause()
        assert results_grid(app).columns[place].title == "0.5 ▾"
        assert column(app, place) == sorted(column(app, place), reverse=True)
        await pilot.click(results_grid(app), offset=(x, 1))
        await pilot.pause()
        assert [cell(app, row, 0) for row in range(3)] == planned
        for _ in range(titles.index("ACR")):
            await pilot.press("s")
        assert results_grid(app).columns[titles.index("ACR")].title == "ACR ▾"
        assert column(app, titles.index("ACR")) == sorted(column(app, titles.index("ACR")), reverse=True)

    drive(steps)


def test_two_runs_are_compared(synthetic: Synthetic, drive, monkeypatch) -> None:
    copied: list[str] = []
    monkeypatch.setattr(Dashboard, "copy_to_clipboard", lambda _app, text: copied.append(text))

    async def steps(app, pilot):
        await open_results(app, pilot, "finished")
        await pilot.press("m")
        await until(pilot, lambda: isinstance(app.screen, ReadScreen), "the comparison")
        text = "\n".join(on_screen(app))
        assert "60 images in both" in text
        assert re.search(r"ACR 0\.\d+ and 0\.\d+", text)
        await pilot.press("y", "q")
        assert "paired bootstrap over images" in copied[0]
        # With one of them drawn the other one is asked for.
        await pilot.press("down", "space", "m")
        assert isinstance(app.screen, ChooseScreen)
        assert [name for name, _ in app.screen._options] == [synthetic_title(app, 0)]
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, ReadScreen), "the comparison")

    drive(steps)


def synthetic_title(app, place: int) -> str:
    return app.mode_screen.sweep.runs[place].title


def test_a_figure_of_the_runs_shown_is_saved(synthetic: Synthetic, drive, tmp_path) -> None:
    async def steps(app, pilot):
        await open_results(app, pilot, "finished")
        await pilot.press("f")
        await until(pilot, lambda: isinstance(app.screen, ChooseScreen), "the kinds")
        app.screen.query_one(OptionList).highlighted = 0
        await pilot.press("enter")
        assert isinstance(app.screen, PromptScreen)
        app.screen.query_one(Input).value = str(tmp_path / "table.txt")
        await pilot.press("enter")
        await until(pilot, lambda: "a figure ends in one of" in "\n".join(on_screen(app)), "the refusal")
        app.screen.query_one(Input).value = str(tmp_path / "curve.svg")
        await pilot.press("enter")
        await until(pilot, lambda: any("written" in n.message for n in app._notifications), "the figure")

    drive(steps)
    assert "gaussian" in (tmp_path / "curve.svg").read_text()
    assert not (tmp_path / "table.txt").exists()


def test_long_notes_of_a_figure_are_read_in_a_window_of_their_own(
    synthetic: Synthetic, drive, monkeypatch
) -> None:
    """A message of many lines would cover half of a small screen, and couldn't be closed."""

    async def steps(app, pilot):
        await open_results(app, pilot, "finished")
        app.mode_screen.controls.report("written: /x/curve.pdf\n" + "no result. " * 30)
        await until(pilot, lambda: isinstance(app.screen, ReadScreen), "the notes")
        assert "written: /x/curve.pdf" in "\n".join(on_screen(app))
        assert not app._notifications
        await pilot.press("q")
        app.mode_screen.controls.report("written: /x/curve.pdf\nBands: 95 %")
        await until(pilot, lambda: list(app._notifications), "the message")
        assert not isinstance(app.screen, ReadScreen)

    drive(steps, (80, 24))
