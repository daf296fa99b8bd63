"""The sweeps mode: what is shown, and every key of it."""

from __future__ import annotations

import contextlib
import tempfile
import threading

import pytest
from dashboard_store import Synthetic, waits_for_its_model
from piloting import on_screen, until
from test_app import type_at_once
from textual.events import Key
from textual.widgets import ContentSwitcher

from rsctl.cluster.local.requests import own_queue
from rsctl.plan.tasks import Task
from rsctl.tui import actions
from rsctl.tui.app import Dashboard
from rsctl.tui.dialogs.confirm import ConfirmScreen
from rsctl.tui.dialogs.help import HelpScreen
from rsctl.tui.sweeps.log_view import LogView
from rsctl.tui.sweeps.panes.curve import CertifiedPane
from rsctl.tui.widgets.chart import Chart
from rsctl.tui.widgets.grid import Grid


def text_of(widget) -> str:
    """What a widget that draws lines shows."""
    return "\n".join(widget.render_line(y).text.rstrip() for y in range(widget.size.height))


def asked(app: Dashboard) -> str:
    """The text of the question that is open."""
    return "".join(str(widget.render()) for widget in app.screen.query("#confirm-text"))


def grid_of(app: Dashboard) -> Grid:
    return app.screen.query_one("#sweeps-grid", Grid)


def test_the_newest_sweep_is_open_and_states_are_told(synthetic: Synthetic, drive) -> None:
    async def steps(app, pilot):
        shown = text_of(grid_of(app))
        assert [row.key for row in grid_of(app).rows if row.depth == 0] == ["going", "finished", "failed"]
        assert "σ 0.12" in shown
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
        await pilot.press("right", "down")
        await until(pilot, lambda: "submitted by" in _rendered(details), "where it comes from")
        assert "numpy" in _rendered(details)
        await pilot.press("c")
        assert app.screen.query_one("#sweeps-panes", ContentSwitcher).current == "Curve"

    drive(steps)


def _rendered(static) -> str:
    return "\n".join(strip.text for strip in static.render_lines(static.size.region))


def test_training_curves_grow_from_the_metrics(synthetic: Synthetic, drive) -> None:
    async def steps(app, pilot):
        await pilot.press("t", "down", "down")
        chart = app.screen.query_one("#training-loss", Chart)
        await until(pilot, lambda: chart.series, "training curve")
        before = chart.series[0].xs[-1]
        synthetic.train(synthetic.models("going")[1], steps=400, finish=False)
        await until(pilot, lambda: chart.series[0].xs[-1] > before, "more of it")
        assert chart.series[0].ys[-1] < chart.series[0].ys[0]
        assert app.screen.query_one("#training-accuracy", Chart).series

    drive(steps)


def test_the_log_is_literal_and_follows(synthetic: Synthetic, drive) -> None:
    task = Task(synthetic.models("going")[1], 0)
    path = synthetic.log(task, b"[red]plain[/red]\n10%\r20%\r\n" + b"\x1b[2Jlast \xff\xfe\n")

    async def steps(app, pilot):
        await pilot.press("down", "down", "l")
        log = app.screen.query_one(LogView)
        await until(pilot, lambda: log.window is not None, "log")
        assert [line.rstrip() for line in text_of(log).split("\n")[:3]] == [
            "[red]plain[/red]",
            "20%",
            "last ��",
        ]
        with open(path, "ab") as file:
            file.write(b"RuntimeError: one\n" + b"more\n" * 500)
        await until(pilot, lambda: "more" in text_of(log), "what was added")
        assert log.following
        await pilot.press("E")
        await until(pilot, lambda: "RuntimeError: one" in text_of(log), "the error")
        assert not log.following
        await pilot.press("E")
        await until(
            pilot, lambda: any("No error above" in n.message for n in app._notifications), "word of it"
        )
        log.focus()
        await pilot.press("end")
        await until(pilot, lambda: log.following and "RuntimeError" not in text_of(log), "the end")
        await pilot.press("home", "down", "up", "pagedown", "pageup", "right", "left")
        assert "[red]plain" in text_of(log)

    drive(steps)


def test_filter_sort_and_clear(synthetic: Synthetic, drive) -> None:
    async def steps(app, pilot):
        grid = grid_of(app)
        await pilot.press("slash", *"sigma:>0.3")
        await pilot.pause()
        shown = [row.key for row in grid.rows]
        assert [row.key for row in grid.rows if row.depth == 0] == ["finished", "failed"]
        assert len(shown) == 4
        await pilot.press(*" sgima:1")
        note = app.screen.query_one(".filter-note")
        assert note.display
        assert "Did you mean 'sigma'" in str(note.render())
        await pilot.press("ctrl+g")
        assert len([row for row in grid.rows if row.depth == 0]) == 3
        assert not note.display
        runs = [row.key for row in grid.rows if row.depth == 1]
        await pilot.press("s", "s", "s")
        assert any(column.title == "Left ▾" for column in grid.columns)
        await pilot.press("s")
        assert [row.key for row in grid.rows if row.depth == 1] == runs

    drive(steps)


def test_what_is_typed_right_after_the_slash_is_the_filters(synthetic: Synthetic, drive) -> None:
    """Keys that arrive together, as over a slow line: an x among them must not ask to cancel."""

    async def steps(app, pilot):
        for key in ("slash", "x", "slash", "s"):
            app.post_message(Key(key, key if len(key) == 1 else "/"))
        await until(pilot, lambda: app.screen.query_one(".filter").value == "x/s", "the filter's text")

    drive(steps)


def test_a_sweep_is_cancelled_whole_and_says_so_under_a_filter(synthetic: Synthetic, drive) -> None:
    waits_for_its_model(synthetic, "going")

    async def steps(app, pilot):
        await until(
            pilot, lambda: app.screen.selection.sweep.progress.states.get("queued"), "tasks that wait"
        )
        grid_of(app).move_to("going")
        type_at_once(app, "slash", *"sigma", "colon", *"0", "full_stop", *"12", "enter", "x")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen), "the question")
        await until(
            pilot, lambda: "This includes 1 run hidden by the filter." in asked(app), "the whole of it"
        )

    drive(steps)


def test_more_room_names_more_curves(synthetic: Synthetic, drive) -> None:
    async def steps(app, pilot):
        synthetic.count(synthetic.counts("going")[1], 0)
        app.paused = False
        pane = app.screen.query_one(CertifiedPane)
        await until(
            pilot, lambda: "and 1 more run" in str(pane.query_one("Static").render()), "a short legend"
        )
        app.paused = True
        await pilot.resize_terminal(160, 48)
        await until(pilot, lambda: "more run" not in str(pane.query_one("Static").render()), "both names")

    drive(steps, (60, 15))


def test_cancel_asks_first_and_stops_the_sweep(synthetic: Synthetic, drive) -> None:
    """The tasks of `going` are this process's own claims, so the backend has none of them to stop; requests go away."""
    queue = own_queue(synthetic.store)
    waits_for_its_model(synthetic, "going")
    waiting = len(queue.wanted())

    async def steps(app, pilot):
        await pilot.press("x")
        assert isinstance(app.screen, ConfirmScreen)
        await pilot.press("n")
        assert len(queue.wanted()) == waiting
        await pilot.press("x", "y")
        await until(pilot, lambda: not queue.wanted(), "cancelled requests")
        await until(
            pilot,
            lambda: any(t.state == "cancelled" for t in app.overview.sweeps[0].tasks),
            "cancelled tasks",
        )

    with_no_signals(synthetic, drive, steps)


def with_no_signals(synthetic: Synthetic, drive, steps) -> None:
    synthetic.let_go("going")
    drive(steps)


def test_retry_hands_failed_tasks_over_again(synthetic: Synthetic, drive, monkeypatch) -> None:
    monkeypatch.setattr("rsctl.cluster.local.backend.start_detached", lambda *_: None)
    queue = own_queue(synthetic.store)

    async def steps(app, pilot):
        grid_of(app).move_to("failed")
        await pilot.press("r")
        assert isinstance(app.screen, ConfirmScreen)
        assert "1 failed" in asked(app)
        await pilot.press("y")
        await until(pilot, lambda: len(queue.wanted()) == 3, "requests")
        grid_of(app).move_to("finished")
        await pilot.press("r")
        assert not isinstance(app.screen, ConfirmScreen)

    drive(steps)


def test_an_edited_sweep_file_is_planned_and_submitted(synthetic: Synthetic, drive, monkeypatch) -> None:
    monkeypatch.setattr("rsctl.cluster.local.backend.start_detached", lambda *_: None)
    monkeypatch.setenv("EDITOR", "sed -i s/0.12/-1/")
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setattr(Dashboard, "suspend", lambda self: contextlib.nullcontext())
    kept = synthetic.store.sweep_folder("going") / "sweep.toml"
    before = kept.read_text()

    async def steps(app, pilot):
        await pilot.press("e")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen), "question")
        await until(
            pilot,
            lambda: "greater than" in asked(app),
            "what is wrong",
        )
        monkeypatch.setenv("EDITOR", "sed -i s/-1/0.75/")
        await pilot.press("y")
        await until(
            pilot,
            lambda: isinstance(app.screen, ConfirmScreen) and "2 models" in asked(app),
            "plan",
        )
        said = asked(app)
        assert "adds gaussian-digits-s0.75-" in said
        assert "drops gaussian-digits-s0.12-" in said
        assert kept.read_text() == before
        await pilot.press("y")
        await until(pilot, lambda: "0.75" in kept.read_text(), "submission")
        await until(pilot, lambda: "No sweep needs" in asked(app), "the question about what was dropped")
        await pilot.press("n")
        await until(pilot, lambda: "σ 0.75" in text_of(grid_of(app)), "the new run")

    drive(steps)


def test_what_is_typed_while_a_change_is_planned_is_for_its_question(
    synthetic: Synthetic, drive, monkeypatch, tmp_path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("EDITOR", "sed -i s/0.12/0.75/")
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setattr(Dashboard, "suspend", lambda self: contextlib.nullcontext())
    ready = threading.Event()
    plan = actions.plan

    def slowly(file):
        ready.wait(20)
        return plan(file)

    monkeypatch.setattr(actions, "plan", slowly)
    kept = synthetic.store.sweep_folder("going") / "sweep.toml"
    before = kept.read_text()

    async def steps(app, pilot):
        # In the table x would ask whether to cancel; and nobody agrees to a plan that he hasn't seen.
        type_at_once(app, "e", "x", "y")
        await pilot.pause()
        assert isinstance(app.screen, ConfirmScreen)
        assert "planning" in asked(app)
        ready.set()
        await until(pilot, lambda: "2 models" in asked(app), "the plan")
        await pilot.press("n")
        await until(
            pilot, lambda: any("is kept" in n.message for n in app._notifications), "where the file is"
        )
        assert kept.read_text() == before

    drive(steps)
    assert list(tmp_path.glob("rsctl-*/going.toml"))


def test_without_a_change_nothing_is_planned(synthetic: Synthetic, drive, monkeypatch, tmp_path) -> None:
    (tmp_path / "own").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "own"))
    monkeypatch.setenv("EDITOR", "true")
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setattr(Dashboard, "suspend", lambda self: contextlib.nullcontext())

    async def steps(app, pilot):
        await pilot.press("e")
        await until(pilot, lambda: any("No changes" in n.message for n in app._notifications), "word of it")

    drive(steps)
    assert not list((tmp_path / "own").glob("rsctl-*"))


@pytest.mark.parametrize("size", [(80, 24), (160, 48), (60, 16)])
def test_every_pane_fits(synthetic: Synthetic, drive, size) -> None:
    async def steps(app, pilot):
        for key in "ctld":
            await pilot.press(key)
            await pilot.pause()
        assert grid_of(app).size.height >= 3
        await pilot.press("question_mark")
        assert isinstance(app.screen, HelpScreen)
        await pilot.press("q")
        assert not isinstance(app.screen, HelpScreen)

    drive(steps, size)


def test_a_done_task_that_runs_again_is_seen(synthetic: Synthetic, drive) -> None:
    async def steps(app, pilot):
        task = app.overview.sweeps[1].runs[0].certification[0]
        assert task.state == "done"
        synthetic.count(synthetic.counts("finished")[0], task.number, share=0.5, finish=False)
        await until(
            pilot,
            lambda: app.overview.sweeps[1].runs[0].certification[0].state == "running",
            "the new attempt",
        )

    drive(steps)


def test_long_values_stand_on_lines_of_their_own(synthetic: Synthetic, drive) -> None:
    """An id or an error is read, and selected, as one."""
    reason = "training diverged: the loss is nan at step 9"

    async def steps(app, pilot):
        app.screen.query_one("#sweeps-grid", Grid).move_to("failed")
        await pilot.press("right", "down", "d")
        for width in (80, 160):
            await pilot.resize_terminal(width, 40)
            await pilot.pause()
            lines = [line.strip() for line in on_screen(app)]
            assert any(line.endswith(reason) for line in lines), lines
            assert any(synthetic.models("failed")[0].id in line for line in lines)

    drive(steps)
