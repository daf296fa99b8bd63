"""The cluster mode: open tasks with their reasons, the doctor, profiles, partitions."""

from __future__ import annotations

from dashboard_store import Synthetic, waits_for_its_model
from piloting import until
from test_sweeps import text_of
from textual.widgets import ContentSwitcher

from rsctl.errors import UnavailableError
from rsctl.tui.cluster.screen import ASKED
from rsctl.tui.widgets.grid import Grid


def grid(app, name: str) -> Grid:
    return app.screen.query_one(f"#{name}", Grid)


def note(app) -> str:
    return str(app.screen.query_one("#cluster-note").render())


def away(*_):
    raise UnavailableError("sinfo: command not found")


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
        await pilot.press("D")
        await until(pilot, lambda: grid(app, "Findings").rows, "findings")
        assert "writable" in text_of(grid(app, "Findings"))

    drive(steps)


def test_profiles_and_partitions(synthetic: Synthetic, drive, monkeypatch) -> None:
    synthetic.place.store.parent.joinpath("rsctl.toml").write_text(
        '[profiles.big]\nbackend = "slurm"\npartition = "gpu"\n'
    )

    monkeypatch.setattr("rsctl.cluster.slurm.commands.run_command", away)
    monkeypatch.setattr("rsctl.cluster.slurm.nodes.run_command", away)

    async def steps(app, pilot):
        await pilot.press("4")
        await until(pilot, lambda: app.current_mode == "cluster" and grid(app, "Profiles").rows, "profiles")
        await pilot.press("right_square_bracket")
        assert app.screen.query_one(ContentSwitcher).current == "Profiles"
        assert "partition = gpu" in text_of(grid(app, "Profiles"))
        await pilot.press("right_square_bracket")
        await until(pilot, lambda: "command not found" in note(app), "word of it")
        await pilot.press("right_square_bracket")
        assert "command not found" in note(app)
        await pilot.press("right_square_bracket")
        await until(pilot, lambda: "can't be queried" in text_of(grid(app, "Usage")), "word of it")
        await pilot.press("right_square_bracket")
        assert app.screen.query_one(ContentSwitcher).current == "Findings"

    drive(steps)


SAID = {
    "sinfo": {
        "--format=%P|%a|%l|%c|%m|%G": "gpu*|up|1-00:00:00|64|512000|gpu:a100:4(S:0-1)\n",
        "--Node": [
            ("n1", "gpu*", "mixed", "60/4/0/64", "512000", "256000", "gpu:a100:4(S:0-1)", "gpu:a100:3(IDX:0,2-3)"),
            ("n1", "long", "mixed", "60/4/0/64", "512000", "256000", "gpu:a100:4(S:0-1)", "gpu:a100:3(IDX:0,2-3)"),
            ("n2", "gpu*", "drained*", "0/0/64/64", "512000", "0", "gpu:a100:4(S:0-1)", "gpu:0"),
        ],
    },
    "sacct": "lab|7200|8|billing=8,cpu=8,gres/gpu:a100=2,gres/gpu=2,mem=64G,node=1\nlab|3600|4|cpu=4,mem=1G\nother|x|1|\n",
}  # fmt: skip


def says(*command: str) -> str:
    """A cluster in SLURM's own words."""
    if command[0] == "sacct":
        return SAID["sacct"]
    if "--Node" in command:
        layout = command[-1].removeprefix("--Format=").split(",")
        widths = [int(entry.partition(":")[2]) for entry in layout]
        return "\n".join("".join(f"{v:<{w}}" for v, w in zip(row, widths, strict=True)) for row in SAID["sinfo"]["--Node"])  # fmt: skip
    return SAID["sinfo"][command[-1]]


def test_what_is_free_and_what_was_used(synthetic: Synthetic, drive, monkeypatch) -> None:
    """And it stays, with its age, when SLURM no longer answers."""
    for place in ("slurm.commands", "slurm.nodes"):
        monkeypatch.setattr(f"rsctl.cluster.{place}.run_command", says)

    async def steps(app, pilot):
        await pilot.press("4", "right_square_bracket", "right_square_bracket")
        await until(pilot, lambda: grid(app, "Partitions").rows, "partitions")
        assert grid(app, "Partitions").rows[0].cells == (
            "gpu (default)", "up", "24 h 00", "4 of 128", "1 of 8", "64", "500 GB", "4",
        )  # fmt: skip
        await pilot.press("right_square_bracket")
        nodes = grid(app, "Nodes").rows
        assert nodes[0].cells == ("n1", "mixed", "1 of 4", "a100", "4 of 64", "250 of 500 GB", "gpu, long")
        assert nodes[1].cells[2:5] == ("0 of 4", "a100", "0 of 64")
        await pilot.press("right_square_bracket")
        await until(pilot, lambda: grid(app, "Usage").rows, "usage")
        assert grid(app, "Usage").rows[0].cells == ("lab", "2", "20.0", "4.0")
        monkeypatch.setattr("rsctl.cluster.slurm.commands.run_command", away)
        monkeypatch.setitem(ASKED, "Nodes", (0.0, "hardware"))
        await pilot.press("left_square_bracket")
        await until(pilot, lambda: "command not found (shown: data of" in note(app), "word of it")
        assert grid(app, "Nodes").rows == nodes

    drive(steps)
