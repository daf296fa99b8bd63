"""A read-only dashboard changes nothing: by no key, no command of the palette, and no function that they call."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from dashboard_store import Synthetic
from piloting import on_screen, settled, until
from textual.binding import Binding

from rsctl.errors import RefusedError
from rsctl.tui import actions
from rsctl.tui.app import Dashboard, make_app
from rsctl.tui.cluster import reader as cluster_reader
from rsctl.tui.compose import drafts, sweep_files
from rsctl.tui.mode import ModeScreen
from rsctl.tui.read_only import CHANGING, REFUSAL, VARIABLE
from rsctl.tui.results import reader

READING = {
    actions: {"limits", "plan", "describe_changes", "plan_deletion"},
    sweep_files: {"compose", "templates", "draft_of"},
    drafts: {"place", "find", "age"},
    reader: {"pictures", "figure_kinds", "compare_runs"},
    cluster_reader: {"examine", "profiles", "hardware", "usage"},
}
"""Functions behind the screens that change nothing; every other one of these modules must refuse."""
SHOWING = {
    "copy", "next_pane", "pane", "sort", "error", "intervals", "examine", "mode", "quit", "help", "command_palette", "pause", "read_again",
    *(f"part('controls', '{name}')" for name in ("sweep", "certificate", "alpha", "baseline", "compare")),
    *(f"part('filter_bar', '{name}')" for name in ("open", "clear")),
}  # fmt: skip
"""Actions of keys that change nothing, by name or as bound."""


@pytest.fixture(autouse=True)
def _read_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "1")


def functions(module: Any) -> dict[str, Callable[..., Any]]:
    return {
        name: function for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__ and not name.startswith("_")
    }  # fmt: skip


@pytest.mark.parametrize("module", READING, ids=lambda module: module.__name__)
def test_every_function_that_changes_something_refuses(module: Any) -> None:
    found = functions(module)
    assert READING[module] <= found.keys()
    for name in found.keys() - READING[module]:
        with pytest.raises(RefusedError, match="read-only"):
            found[name](*(None for _ in inspect.signature(found[name]).parameters))


def test_every_key_shows_something_or_is_refused() -> None:
    app = make_app()
    screens = [screen() for mode, screen in app.MODES.items() if mode != "compose"]
    bound = {
        binding.action
        for owner in (Dashboard, ModeScreen, *map(type, screens))
        for binding in owner.BINDINGS
        if isinstance(binding, Binding)
    }
    assert bound >= CHANGING
    assert {a for a in bound - CHANGING if a not in SHOWING and a.partition("(")[0] not in SHOWING} == set()


def tree(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_no_key_and_no_command_changes_a_file_or_ends_a_process(
    synthetic: Synthetic, tmp_path: Path, drive: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    killed: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda *what: killed.append(what))
    started: list[str] = []

    def run(words: list[str], **_: Any) -> None:
        started.append(words[0] if "jobs.picture" not in words else "jobs.picture")
        raise FileNotFoundError(words[0])

    monkeypatch.setattr("subprocess.run", run)
    before = tree(tmp_path)

    async def steps(app: Dashboard, pilot: Any) -> None:
        async def back() -> None:
            for _ in range(3):
                if app.screen is not app.mode_screen:
                    await pilot.press("escape")
                    await settled(app)

        for mode in ("results", "sweeps", "cluster"):
            app.action_mode(mode)
            await settled(app)
            keys = [b for b in (*type(app.mode_screen).BINDINGS, *app.BINDINGS) if isinstance(b, Binding)]
            for key in [b.key.split(",")[0] for b in keys if b.action not in ("quit", "examine")]:
                await pilot.press(key)
                await pilot.press("enter")
                await back()
                app.action_mode(mode)
            for command in app.get_system_commands(app.mode_screen):
                if command.title not in ("Quit", "Doctor"):
                    done = command.callback()
                    if inspect.isawaitable(done):
                        await done
                    await settled(app)
                    await back()
                    app.action_mode(mode)
        app.action_mode("compose")
        assert app.current_mode == "cluster"

    drive(steps)
    assert not killed
    assert set(started) <= {"squeue", "sinfo", "sacct", "jobs.picture"}
    after = tree(tmp_path)
    assert {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)} == set()


@pytest.mark.parametrize("key", ["x", "r", "R", "X", "e", "3"])
def test_a_refused_key_says_so(key: str, synthetic: Synthetic, drive: Callable[..., None]) -> None:
    async def steps(app: Dashboard, pilot: Any) -> None:
        await until(pilot, lambda: "read-only" in on_screen(app)[0], "mark in the first line")
        await pilot.press(key)
        assert [note.message for note in app._notifications] == [REFUSAL]
        assert app.screen is app.mode_screen
        assert app.current_mode == "sweeps"

    drive(steps)
