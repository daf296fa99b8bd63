"""Tasks that no sweep wants any more, and steering what is under the cursor: nothing runs unseen."""

from __future__ import annotations

import contextlib
import os

import pytest
from dashboard_store import Synthetic
from piloting import until
from test_cluster import grid, note
from test_sweeps import asked, grid_of, text_of

from rsctl.cluster import control, dropped
from rsctl.cluster.local.requests import own_queue
from rsctl.tui.app import Dashboard
from rsctl.tui.dialogs.confirm import ConfirmScreen


@pytest.fixture(autouse=True)
def asleep(monkeypatch: pytest.MonkeyPatch) -> None:
    """A queue that takes requests and starts nothing, and an editor that drops the level 0.12."""
    monkeypatch.setattr("rsctl.cluster.local.backend.start_detached", lambda *_: None)
    monkeypatch.setenv("EDITOR", "sed -i s/0.12/0.75/")
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setattr(Dashboard, "suspend", lambda self: contextlib.nullcontext())


def hand_over(synthetic: Synthetic) -> None:
    """All open tasks of `going` wait in the queue: none is claimed by this process."""
    synthetic.let_go("going")
    control.submit(synthetic.store.sweep_folder("going") / "sweep.toml", synthetic.place)


async def update(app, pilot) -> None:
    """Edit the sweep `going` and submit it, up to the question about what was dropped."""
    grid_of(app).move_to("going")
    await pilot.press("e")
    await until(pilot, lambda: isinstance(app.screen, ConfirmScreen) and "2 models" in asked(app), "the plan")
    await pilot.press("y")
    await until(pilot, lambda: "No sweep needs" in asked(app), "the question")


def test_an_update_asks_about_what_it_drops_and_the_cluster_mode_lists_it(
    synthetic: Synthetic, drive
) -> None:
    queue = own_queue(synthetic.store)
    hand_over(synthetic)

    async def steps(app, pilot):
        await update(app, pilot)
        assert "s0.12" in asked(app)
        left = {status.task.key for status in dropped.dropped_tasks(synthetic.place)}
        assert left
        await pilot.press("n", "4")
        await until(
            pilot, lambda: "no sweep needs it" in text_of(grid(app, "cluster-queue")), "the open tasks"
        )
        key = next(row.key for row in grid(app, "cluster-queue").rows if row.key in left)
        grid(app, "cluster-queue").move_to(key)
        await until(pilot, lambda: "No sweep needs it any more: x cancels it" in note(app), "the note")
        await pilot.press("x")
        assert isinstance(app.screen, ConfirmScreen)
        await pilot.press("y")
        await until(pilot, lambda: key not in queue.wanted(), "the end of its request")
        await until(
            pilot, lambda: key not in [row.key for row in grid(app, "cluster-queue").rows], "its row gone"
        )

    drive(steps)


def test_dropped_tasks_are_stopped_where_one_agrees(synthetic: Synthetic, drive) -> None:
    queue = own_queue(synthetic.store)
    hand_over(synthetic)

    async def steps(app, pilot):
        await update(app, pilot)
        await pilot.press("y")
        await until(pilot, lambda: not any("s0.12" in key for key in queue.wanted()), "their end")
        assert any("s0.75" in key for key in queue.wanted())

    drive(steps)


def test_retry_is_about_the_row_under_the_cursor(synthetic: Synthetic, drive) -> None:
    queue = own_queue(synthetic.store)

    async def steps(app, pilot):
        sweep = next(one for one in app.overview.sweeps if one.name == "failed")
        (run,) = sweep.runs
        first, second = run.certification
        grid_of(app).move_to("failed")
        await pilot.press("right")
        grid_of(app).move_to(run.key)
        await pilot.press("right")
        await until(
            pilot, lambda: any(first.key in row.key for row in grid_of(app).rows), "the tasks of the run"
        )
        grid_of(app).move_to(f"{run.key} {first.key}")
        await pilot.press("r")
        assert "certify" in asked(app)
        assert "2 tasks" in asked(app)  # and the training that it needs
        await pilot.press("y")
        await until(pilot, lambda: len(queue.wanted()) == 2, "two requests")
        assert second.key not in queue.wanted()

    drive(steps)


def test_a_key_that_has_nothing_to_do_says_so(synthetic: Synthetic, drive) -> None:
    async def steps(app, pilot):
        for key, said in (("r", "no failed"), ("R", "no failed"), ("x", "nothing to cancel")):
            grid_of(app).move_to("finished")
            await pilot.press(key)
            await until(pilot, lambda said=said: any(said in one.message for one in app._notifications), said)
        assert not isinstance(app.screen, ConfirmScreen)

    drive(steps)


def test_on_an_empty_store_keys_say_that_nothing_is_there(synthetic: Synthetic, drive) -> None:
    for name in synthetic.store.sweep_names():
        (synthetic.store.sweep_folder(name) / "plan.json").unlink()

    async def steps(app, pilot):
        for key in ("x", "r", "R", "e"):
            before = len(app._notifications)
            await pilot.press(key)
            assert len(app._notifications) > before, key
        await pilot.press("4")
        await until(pilot, lambda: app.current_mode == "cluster", "the mode")

    drive(steps)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to another user")
def test_a_sweep_of_another_user_is_shown_as_theirs_and_they_are_named_before_it_changes(
    synthetic: Synthetic, drive
) -> None:
    folder = synthetic.store.sweep_folder("failed")
    for path in (folder, *folder.iterdir()):
        os.chown(path, 60952, 60952)

    async def steps(app, pilot):
        assert "of 60952" in text_of(grid_of(app))
        grid_of(app).move_to("failed")
        await pilot.press("r")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen), "the question")
        assert "User 60952 submitted this sweep." in asked(app)
        await pilot.press("n", "X")
        await until(pilot, lambda: "will be deleted" in asked(app), "the list")
        assert "User 60952 submitted this sweep." in asked(app)
        await pilot.press("y")
        await until(pilot, lambda: not folder.exists(), "end of the sweep")

    drive(steps)
