"""The cluster mode: open tasks with their reasons, the doctor, profiles, partitions."""

from __future__ import annotations

from conftest import until
from dashboard_store import Synthetic, waits_for_its_model
from test_sweeps import text_of
from textual.widgets import ContentSwitcher

from rsctl.errors import UnavailableError
from rsctl.tui.widgets.grid import Grid


def grid(app, name: str) -> Grid:
    return app.screen.query_one(f"#{name}", Grid)


def note(app) -> str:
    return str(app.screen.query_one("#cluster-note").render())


def test_open_tasks_say_why_they_wait(synthetic: Synthetic, drive) -> None:
    waits_for_its_model(synthetic, "failed")

    async def steps(app, pilot):
        await pilot.press("4")
        await until(
            pilot, lambda: app.current_mode == "cluster" and grid(app, "cluster-queue").rows, "open tasks"
        )
        shown = text_of(grid(app, "cluster-queue"))
        assert "running" in shown
        assert "waiting" in shown
        states = [row.cells[2][0][0] for row in grid(app, "cluster-queue").rows]
        assert states == sorted(states, key=lambda state: "running" not in state)
        await pilot.press("end")
        assert "waits for the model" in note(app)

    drive(steps)


def test_the_doctor_looks_when_asked(synthetic: Synthetic, drive, monkeypatch) -> None:
    monkeypatch.setattr("rsctl.cluster.doctor.examine_slurm", lambda _place: iter(()))

    async def steps(app, pilot):
        await pilot.press("4")
        await until(pilot, lambda: app.current_mode == "cluster", "the mode")
        assert not grid(app, "Findings").rows
        await pilot.press("x")
        await until(pilot, lambda: grid(app, "Findings").rows, "findings")
        assert "writable" in text_of(grid(app, "Findings"))

    drive(steps)


def test_profiles_and_partitions(synthetic: Synthetic, drive, monkeypatch) -> None:
    synthetic.place.store.parent.joinpath("rsctl.toml").write_text(
        '[profiles.big]\nbackend = "slurm"\npartition = "gpu"\n'
    )

    def away(*_):
        raise UnavailableError("sinfo: command not found")

    monkeypatch.setattr("rsctl.cluster.slurm_commands.ask", away)

    async def steps(app, pilot):
        await pilot.press("4")
        await until(pilot, lambda: app.current_mode == "cluster" and grid(app, "Profiles").rows, "profiles")
        await pilot.press("m")
        assert app.screen.query_one(ContentSwitcher).current == "Profiles"
        assert "partition = gpu" in text_of(grid(app, "Profiles"))
        await pilot.press("n")
        await until(pilot, lambda: "command not found" in note(app), "word of it")
        await pilot.press("f")
        assert app.screen.query_one(ContentSwitcher).current == "Findings"

    drive(steps)
