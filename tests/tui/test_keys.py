"""One letter means one thing in every mode, and `y` copies what is under the cursor."""

from __future__ import annotations

from importlib import import_module

import pytest
from dashboard_store import Synthetic
from piloting import until
from textual.binding import Binding
from textual.widgets import OptionList

from rsctl.tui.app import MODE_KEYS, Dashboard
from rsctl.tui.dialogs.prompt import ChooseScreen
from rsctl.tui.sweeps.log_view import LogView
from rsctl.tui.widgets.grid import Grid


def meanings() -> dict[str, set[str]]:
    """Letter and what it is called, over the modes and the widgets that have the focus in them."""
    screens = [
        getattr(import_module(f"rsctl.tui.{name.lower()}.screen"), f"{name}Screen") for _, name in MODE_KEYS
    ]
    found: dict[str, set[str]] = {}
    for owner in {base for kind in (Dashboard, Grid, LogView, *screens) for base in kind.__mro__}:
        if not owner.__module__.startswith("rsctl."):
            continue
        for binding in vars(owner).get("BINDINGS", []):
            key, *_, text = binding if isinstance(binding, tuple) else (binding.key, binding.description)
            for one in key.split(","):
                if len(one) == 1 and one.isalpha():
                    found.setdefault(one, set()).add(text)
    return found


def test_a_letter_means_one_thing_in_every_mode() -> None:
    found = meanings()
    assert {"x", "o", "w", "y", "s", "n"} <= set(found)
    assert {key: texts for key, texts in found.items() if len(texts) > 1} == {}


def test_the_check_sees_a_letter_with_two_meanings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Grid, "BINDINGS", [*Grid.BINDINGS, Binding("x", "choose", "Open")])
    assert meanings()["x"] == {"Cancel", "Open"}


@pytest.fixture
def copied(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []
    monkeypatch.setattr(Dashboard, "copy_to_clipboard", lambda _app, text: found.append(text))
    return found


async def take(app, pilot, name: str) -> str:
    """Copy one of the things that are offered; returns the text beside its name."""
    await pilot.press("y")
    assert isinstance(app.screen, ChooseScreen)
    offered = dict(app.screen._options)
    app.screen.query_one(OptionList).highlighted = list(offered).index(name)
    await pilot.press("enter")
    return offered[name]


def test_ids_errors_and_commands_are_copied(synthetic: Synthetic, drive, copied) -> None:
    failed = synthetic.models("failed")[0]

    async def steps(app, pilot):
        grid = app.screen.query_one("#sweeps-grid", Grid)
        grid.move_to("failed")
        await pilot.press("right", "down", "right", "down")
        assert "training diverged" in await take(app, pilot, "error")
        assert copied[-1] == "training diverged: the loss is nan at step 9"
        await take(app, pilot, "command")
        assert copied[-1] == f"rsctl retry {failed.id} 0"
        await take(app, pilot, "model")
        assert copied[-1] == failed.id
        await pilot.press("2")
        await until(pilot, lambda: app.current_mode == "results", "the mode")
        await until(pilot, lambda: app.mode_screen.query_one(Grid).rows, "the table")
        await take(app, pilot, "command that prints this table")
        assert copied[-1] == "rsctl export failed"
        await pilot.press("4")
        await until(pilot, lambda: app.screen.query_one("#cluster-queue", Grid).rows, "the queue")
        await take(app, pilot, "task")
        assert copied[-1].endswith(("/0", "/1"))

    drive(steps)


def test_where_nothing_can_be_copied_that_is_said(synthetic: Synthetic, drive, copied) -> None:
    async def steps(app, pilot):
        await pilot.press("slash", *"no such run", "enter")
        await until(pilot, lambda: not app.mode_screen.grid.rows, "an empty list")
        await pilot.press("y")
        assert [n.message for n in app._notifications] == ["Nothing to copy here."]

    drive(steps)
    assert copied == []
