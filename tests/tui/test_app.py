"""What holds the dashboard together: modes, keys, the ticker, threads that hang, what it imports."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import pytest
from dashboard_store import Synthetic
from piloting import on_screen, settled, until
from textual.binding import Binding
from textual.events import Key
from textual.widgets import Input, Static

from rsctl.tui.app import Dashboard, make_app
from rsctl.tui.background import Background, Done, Failed
from rsctl.tui.dialogs.help import HelpScreen
from rsctl.tui.dialogs.prompt import PromptScreen
from rsctl.tui.notifications import ended
from rsctl.tui.sweeps.screen import SweepsScreen
from rsctl.tui.views import Overview, RunView, SweepView, TaskView
from rsctl.tui.widgets.topbar import TopBar


def bar(app) -> str:
    return app.screen.query_one(TopBar).render_line(0).text


def test_modes_by_key_and_mouse(synthetic: Synthetic, drive) -> None:
    async def steps(app, pilot):
        for key, name in (("2", "results"), ("3", "compose"), ("4", "cluster"), ("1", "sweeps")):
            await pilot.press(key)
            assert app.current_mode == name
        await pilot.click(TopBar, offset=(bar(app).index("Compose"), 0))
        await pilot.pause()
        assert app.current_mode == "compose"

    drive(steps)


def test_every_key_has_an_action_and_a_meaning() -> None:
    """No dead keys: each binding's action exists where it is bound, and help can name it."""
    app = make_app()
    for owner in (app, *(screen() for screen in app.MODES.values())):
        for binding in type(owner).BINDINGS:
            assert isinstance(binding, Binding)
            action = binding.action.partition("(")[0]
            assert hasattr(owner, f"action_{action}"), f"{binding.key} of {type(owner).__name__} does nothing"
            assert binding.description
            assert not {"ctrl+a", "ctrl+b"} & set(binding.key.split(","))
            if "escape" in binding.key:
                assert "," in binding.key, f"{binding.key} has no twin for Esc"


def heads(screen: HelpScreen) -> list[str]:
    """The left column of what help shows."""
    table = screen.query(Static).last().content
    return [str(cell) for cell in table.columns[0].cells]


def test_help_lists_the_keys_of_each_mode_and_what_its_columns_mean(synthetic: Synthetic, drive) -> None:
    async def steps(app, pilot):
        for mode in "1234":
            await pilot.press(mode, "question_mark")
            assert isinstance(app.screen, HelpScreen)
            keys = dict(app.screen._keys)
            assert "?" in " ".join(keys)
            assert len(keys) > 10
            assert app.screen._columns
            assert set(app.screen._columns) <= set(heads(app.screen))
            await pilot.press("ctrl+g")
            assert not isinstance(app.screen, HelpScreen)

    drive(steps)


def test_help_says_what_the_keys_of_rows_do_in_each_mode(synthetic: Synthetic, drive) -> None:
    async def steps(app, pilot):
        told = {}
        for mode in "124":
            await pilot.press(mode, "question_mark")
            told[mode] = dict(app.screen._keys)
            await pilot.press("ctrl+g")
        assert told["1"]["→"].startswith("Open the row")
        assert told["2"]["→"] == "Next columns"
        assert told["2"]["space"] == "Show or hide the run's curve"
        assert "images" in told["2"]["⏎"]
        assert not {"⏎", "space"} & set(told["4"])
        assert "tasks keep running" in told["1"]["p"]

    drive(steps)


@pytest.mark.parametrize("filtered", [False, True])
def test_the_last_line_has_room_for_its_keys_at_80_columns(
    synthetic: Synthetic, drive, filtered: bool
) -> None:
    async def steps(app, pilot):
        for mode in "1234":
            await pilot.press(mode)
            if filtered and mode in "12":
                await pilot.press("slash", *"gauss", "enter")
            await settled(app)
            assert on_screen(app)[-1].endswith("^p More"), mode

    drive(steps, (80, 24))


def test_the_palette_has_every_action(synthetic: Synthetic, drive) -> None:
    async def steps(app, pilot):
        for mode in "1234":
            await pilot.press(mode)
            titles = [command.title for command in app.get_system_commands(app.screen)]
            bound = {
                b.action for b in type(app.screen).BINDINGS if not b.action.startswith(("pane", "clear"))
            }
            assert len(titles) >= len(bound) + 7
            assert len(set(titles)) == len(titles)

    drive(steps)


def type_at_once(app, *keys: str) -> None:
    """Keys that arrive together, as over a slow line."""
    for key in keys:
        app.post_message(
            Key(
                key,
                key
                if len(key) == 1
                else {"full_stop": ".", "slash": "/", "colon": ":", "space": " "}.get(key),
            )
        )


def test_what_is_typed_right_after_a_key_that_asks_is_the_answer(synthetic: Synthetic, drive) -> None:
    async def steps(app, pilot):
        type_at_once(app, "2", "a", "0", "full_stop", "2", "enter")
        await until(pilot, lambda: app.current_mode == "results" and len(app.screen_stack) == 1, "the answer")
        assert app.screen.question.alpha == 0.2
        # A dialogue after a dialogue: the format, then the file.
        type_at_once(app, "w", "down", "enter", "1", "x", "4")
        await until(pilot, lambda: isinstance(app.screen, PromptScreen), "the question")
        await until(pilot, lambda: app.screen.query_one(Input).value == "1x4", "the file's name")
        assert app.current_mode == "results"

    drive(steps)


def test_what_is_typed_right_after_enter_is_the_fields(synthetic: Synthetic, drive) -> None:
    async def steps(app, pilot):
        await pilot.press("3")
        await until(pilot, lambda: app.current_mode == "compose" and app.screen.grid.rows, "the form")
        app.screen.grid.move_to("Noise and repetition sigma")
        type_at_once(app, "enter", "0", "full_stop", "3")
        await until(pilot, lambda: isinstance(app.screen, PromptScreen), "the question")
        await until(pilot, lambda: app.screen.query_one(Input).value == "0.3", "the value")

    drive(steps)


def test_what_is_typed_is_taken_in_order_and_enter_ends_it(synthetic: Synthetic, drive) -> None:
    async def steps(app, pilot):
        await pilot.press("3")
        await until(pilot, lambda: app.current_mode == "compose" and app.screen.grid.rows, "the form")
        app.screen.grid.move_to("Noise and repetition sigma")
        # A slip taken back, and the next key after Enter: neither may change the value.
        type_at_once(app, "enter", "ctrl+u", "0", "full_stop", "3", "backspace", "7", "enter", "down", "4")
        await until(pilot, lambda: app.current_mode == "cluster", "the key after Enter")
        await pilot.press("3")
        assert app.screen.work.draft.raw["sigma"] == 0.7
        assert app.screen.grid.key == "Noise and repetition noise"

    drive(steps)


def test_the_key_after_a_filter_is_the_tables(synthetic: Synthetic, drive) -> None:
    async def steps(app, pilot):
        type_at_once(app, "slash", *"going", "enter", "4")
        await until(pilot, lambda: app.current_mode == "cluster", "the key after Enter")
        await pilot.press("1")
        assert app.screen.query_one(Input).value == "going"

    drive(steps)


def test_pause_stops_the_ticker(synthetic: Synthetic, drive) -> None:
    async def steps(app, pilot):
        await pilot.press("p")
        await until(pilot, lambda: "paused" in bar(app), "word of it")
        await pilot.pause(0.3)
        taken = app.overview.taken
        await pilot.pause(1.5)
        assert app.overview.taken == taken
        await pilot.press("p")
        await until(pilot, lambda: app.overview.taken > taken, "another look")
        assert "live" in bar(app)

    drive(steps)


def test_a_store_that_hangs_shows_as_stale_and_keys_go_on(synthetic: Synthetic, drive, monkeypatch) -> None:
    stuck = threading.Event()

    async def steps(app, pilot):
        monkeypatch.setattr(app.watcher, "poll", lambda: stuck.wait(60))
        monkeypatch.setattr("rsctl.tui.widgets.topbar.STALE", 0.5)
        await until(pilot, lambda: "stale" in bar(app), "word of it")
        before = app.screen.query_one("#sweeps-grid").cursor
        await pilot.press("down")
        assert app.screen.query_one("#sweeps-grid").cursor == before + 1

    try:
        drive(steps)
    finally:
        stuck.set()


def test_leaving_waits_for_nobody(tmp_path) -> None:
    """A process whose background thread hangs forever still ends."""
    code = (
        "import asyncio, time\n"
        "from rsctl.tui.app import make_app\n"
        "async def main():\n"
        "    app = make_app()\n"
        "    async with app.run_test() as pilot:\n"
        "        app.background.submit('hung', lambda: time.sleep(600), app)\n"
        "        await pilot.pause(0.2)\n"
        "        await pilot.press('q')\n"
        "asyncio.run(main())\n"
        "print('left', flush=True)\n"
    )
    environment = {
        **os.environ,
        "RSCTL_STORE": str(tmp_path / "runs"),
        "RSCTL_CONFIG": str(tmp_path / "rsctl.toml"),
    }
    (tmp_path / "rsctl.toml").write_text("")
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == "left", done.stderr
    assert done.returncode == 0


def test_before_the_first_paint_nothing_slow_is_imported() -> None:
    code = (
        "import sys, rsctl.tui.app\n"
        "print(sorted({'numpy', 'scipy', 'h5py', 'pydantic', 'torch', 'submitit'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr


def test_wrong_settings_are_a_sentence(tmp_path, monkeypatch) -> None:
    import asyncio

    (tmp_path / "rsctl.toml").write_text("stor = 'x'\n")
    monkeypatch.setenv("RSCTL_CONFIG", str(tmp_path / "rsctl.toml"))

    async def main() -> None:
        app = make_app()
        async with app.run_test() as pilot:
            await until(
                pilot,
                lambda: any("Did you mean 'store'" in n.message for n in app._notifications),
                "word of it",
            )

    asyncio.run(main())


class _Target:
    def __init__(self) -> None:
        self.messages: list[object] = []

    def post_message(self, message: object) -> None:
        self.messages.append(message)


def _soon(true) -> None:
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_of_waiting_errands_only_the_newest_runs() -> None:
    background, target, gate, ran = Background(), _Target(), threading.Event(), []
    background.submit("g", lambda: gate.wait(10) and ran.append(0), target)
    _soon(lambda: background.busy("g"))
    for number in (1, 2, 3):
        background.submit("g", lambda number=number: ran.append(number), target)
    background.submit("other", lambda: ran.append("other"), target)
    _soon(lambda: ran == ["other"])
    gate.set()
    _soon(lambda: len(ran) == 3)
    assert ran == ["other", 0, 3]


def test_a_failing_errand_is_told_and_the_group_goes_on() -> None:
    background, target = Background(), _Target()
    background.submit("g", lambda: 1 / 0, target)
    _soon(lambda: target.messages)
    message = target.messages[0]
    assert isinstance(message, Failed)
    assert "ZeroDivisionError" in message.text
    ran = []
    background.submit("g", lambda: ran.append(1), target)
    _soon(lambda: ran)


def test_an_answer_to_a_screen_without_widgets_is_dropped(synthetic: Synthetic, drive) -> None:
    """One that comes while the dashboard closes, or before the mode is there, would find nothing to show it in."""

    async def steps(app, pilot):
        await SweepsScreen().on_event(Done(lambda _: 1 / 0, 0))

    drive(steps)


def test_work_that_takes_long_rests_longer() -> None:
    background, target = Background(), _Target()

    def spin() -> None:
        end = time.thread_time() + 0.1
        while time.thread_time() < end:
            pass

    background.submit("g", spin, target)
    _soon(lambda: background._groups["g"].ended)
    assert not background.due("g", 0.0)


@pytest.mark.parametrize(
    ("states", "said"), [(("done", "done"), "all tasks are done"), (("done", "failed"), "1 of 2")]
)
def test_the_end_of_a_sweep_is_told_once(states, said) -> None:
    def overview(*found: str) -> Overview:
        tasks = tuple(TaskView(str(i), "train", "models/x", i, state) for i, state in enumerate(found))
        run = RunView("r", "s", "r", "r", "m", "c", {}, {}, tasks)
        return Overview("store", (SweepView("s", "", "local", 0.0, (run,)),), (), 0.0)

    going, over = overview("done", "running"), overview(*states)
    assert said in ended(going, over)[0][1]
    assert ended(over, over) == []
    assert ended(None, over) == []


def test_monochrome_tells_curves_apart(synthetic: Synthetic, drive, monkeypatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert Dashboard().no_color

    async def steps(app, pilot):
        assert app.no_color
        await pilot.press("2")

    drive(steps)


def test_a_failed_job_is_reported_once(synthetic: Synthetic, drive) -> None:
    """By the screen that it was for, and not again by the application."""

    async def steps(app, pilot):
        app.background.submit("broken", lambda: 1 / 0, app.mode_screen)
        await until(pilot, lambda: list(app._notifications), "the message")
        assert ["ZeroDivisionError" in one.message for one in app._notifications] == [True]
        app.background.submit("handled", lambda: 1 / 0, app.mode_screen, failed=found.append)
        await until(pilot, lambda: found, "the error")
        assert len(list(app._notifications)) == 1

    found: list[str] = []
    drive(steps)
