"""Mirrors of training curves: every point once, whatever is killed; absent packages and hostile metrics stop nothing."""

from __future__ import annotations

import importlib.util
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from chain import Chain, tiny
from mirror_readers import READERS

from rsctl.cli.app import run
from rsctl.mirror.follow import Follower
from rsctl.mirror.mirror import MIRRORS, PACKAGES, mirror_sweep
from rsctl.mirror.points import points_of
from rsctl.modules import module_command
from rsctl.store.files import append
from rsctl.tui.read_only import VARIABLE
from rsctl.tui.views import TaskView
from rsctl.tui.watch import Watcher

TOOLS = [
    pytest.param(tool, marks=pytest.mark.skipif(importlib.util.find_spec(tool) is None, reason=f"{tool} isn't installed"))
    for tool in MIRRORS
]  # fmt: skip


def record(chain: Chain, first: int, last: int, attempt: int = 1, loss: float = 0.0) -> None:
    """Append records of these steps to the metrics of the only model."""
    (model,) = chain.store.runs("models")
    file = model.path / f"metrics.{attempt}.jsonl"
    file.touch()
    for step in range(first, last + 1):
        append(file, {"step": step, "epoch": step / 10, "loss": loss or 1 / step, "accuracy": 0.5, "lr": 0.1, "images_per_second": 9.0, "time": 1.7e9 + step})  # fmt: skip


def shown(chain: Chain, tool: str) -> dict[str, list[tuple[int, float]]]:
    (model,) = chain.store.runs("models")
    found = READERS[tool](chain.store.root / "mirrors" / tool)
    assert set(found) == {model.id}
    return dict(found[model.id])


@pytest.mark.parametrize("tool", TOOLS)
def test_every_point_is_written_once(chain: Chain, tool: str) -> None:
    chain.plan(tiny())
    assert mirror_sweep(chain.store, "tiny", tool).points == {}
    record(chain, 1, 5)
    assert list(mirror_sweep(chain.store, "tiny", tool).points.values()) == [5]
    assert list(mirror_sweep(chain.store, "tiny", tool).points.values()) == [0]
    record(chain, 6, 9)
    # Another attempt goes on at its last checkpoint, and repeats some steps.
    record(chain, 8, 12, attempt=2, loss=7.0)
    assert list(mirror_sweep(chain.store, "tiny", tool).points.values()) == [7]
    found = shown(chain, tool)
    assert set(found) == {"train/loss", "train/accuracy", "train/lr", "train/images_per_second"}
    assert [step for step, _ in found["train/loss"]] == list(range(1, 13))
    values = [1 / step for step in range(1, 8)] + [7.0] * 5
    assert [value for _, value in found["train/loss"]] == pytest.approx(values, rel=1e-6)


def test_tensorboard_itself_reads_them(chain: Chain) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    chain.plan(tiny())
    (model,) = chain.store.runs("models")
    for last in (4, 9):
        record(chain, last - 3, last)
        folder = mirror_sweep(chain.store, "tiny", "tensorboard").folder
    read = accumulator.EventAccumulator(str(folder / model.id))
    read.Reload()
    assert [one.step for one in read.Scalars("train/loss")] == [1, 2, 3, 4, 6, 7, 8, 9]
    assert read.Scalars("train/loss")[0].wall_time == pytest.approx(1.7e9 + 1)


def test_damaged_and_old_records_are_left_out(chain: Chain) -> None:
    chain.plan(tiny())
    (model,) = chain.store.runs("models")
    record(chain, 1, 2)
    file = model.path / "metrics.1.jsonl"
    old = {"epoch": 0.3, "loss": 1.0, "accuracy": 0.5, "lr": 0.1}
    file.write_bytes(file.read_bytes() + b"\n{" + b"\n\x00\xff\nnull\n[1]\n" + json.dumps(old).encode())
    append(file, {**old, "step": 4, "epoch": 0.4, "loss": float("nan")})
    record(chain, 5, 6)
    record(chain, 6, 6, loss=3.0)
    assert [point.step for point in points_of(model)] == [1, 2, 5, 6]
    assert points_of(model)[-1].values["loss"] == 3.0


def test_an_absent_package_is_named_with_its_command(chain: Chain, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    chain.plan(tiny())
    for tool, package in PACKAGES.items():
        for name in list(sys.modules):
            if name.split(".")[0] == tool:
                monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, tool, None)
        assert run(["mirror", "tiny", "--to", tool]) == 3
        assert f"pip install {package}. Trainings don't need it." in capsys.readouterr().err


def test_wrong_input_exits_with_2(chain: Chain, capsys: pytest.CaptureFixture[str]) -> None:
    chain.plan(tiny())
    assert run(["mirror", "tiny"]) == 2
    assert "set `mirror` in rsctl.toml" in capsys.readouterr().err
    assert run(["mirror", "tiny", "--to", "x"]) == 2
    assert run(["mirror", "other", "--to", "tensorboard"]) == 2
    Path("rsctl.toml").write_text('mirror = "x"\n' + Path("rsctl.toml").read_text())
    assert run(["mirror", "tiny"]) == 2
    assert "mirror" in capsys.readouterr().err


def test_a_mirror_in_rsctl_toml_changes_no_run(chain: Chain) -> None:
    before = {one.task.key for one in chain.plan(tiny()).requests}
    Path("rsctl.toml").write_text('mirror = "tensorboard"\n' + Path("rsctl.toml").read_text())
    assert {one.task.key for one in chain.plan(tiny()).requests} == before


def test_a_watched_sweep_is_mirrored_beside(chain: Chain) -> None:
    pytest.importorskip("tensorboard")
    chain.plan(tiny())
    Path("rsctl.toml").write_text('mirror = "tensorboard"\n' + Path("rsctl.toml").read_text())
    follower = Follower("tensorboard")
    record(chain, 1, 3)
    assert follower.end(["tiny"]) == ""
    assert [step for step, _ in shown(chain, "tensorboard")["train/lr"]] == [1, 2, 3]
    assert Follower("off").end(["tiny"]) == ""
    # What is wrong with the mirror is reported, and raises nothing.
    assert "no sweep 'other'" in follower.end(["other"])


def test_the_dashboard_mirrors_open_sweeps_and_once_more_after_their_end(
    chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    polled: list[list[str]] = []
    due = iter([False, True, False, True, True])

    def poll(_: Follower, sweeps: set[str]) -> bool:
        polled.append(sorted(sweeps))
        return next(due)

    monkeypatch.setattr(Follower, "poll", poll)
    chain.plan(tiny())
    watcher = Watcher()
    state = iter(["running", "running", "done", "done", "done"])
    monkeypatch.setattr(Watcher, "_statuses", lambda *_: dict.fromkeys(KEYS, TaskView("k", "train", "models/x", 0, next(state))))  # fmt: skip
    (model,), (counts,) = chain.store.runs("models"), chain.store.runs("counts")
    KEYS[:] = [f"{model.key}/0", *(f"{counts.key}/{number}" for number in counts.task_numbers())]
    for _ in range(5):
        watcher.poll()
    assert polled == [["tiny"], ["tiny"], ["tiny"], ["tiny"], []]


@pytest.mark.parametrize(("read_only", "mirrored"), [("0", [["tiny"]]), ("1", [])])
def test_a_read_only_dashboard_writes_no_mirror(
    chain: Chain, monkeypatch: pytest.MonkeyPatch, read_only: str, mirrored: list[list[str]]
) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(Follower, "_start", lambda _, sweeps: started.append(sorted(sweeps)))
    monkeypatch.setenv(VARIABLE, read_only)
    chain.plan(tiny())
    Path("rsctl.toml").write_text('mirror = "tensorboard"\n' + Path("rsctl.toml").read_text())
    (model,) = chain.store.runs("models")
    running = TaskView(f"{model.key}/0", "train", "models/x", 0, "running")
    monkeypatch.setattr(Watcher, "_statuses", lambda *_: {running.key: running})
    monkeypatch.setattr(
        "rsctl.tui.watch._sweep_view", lambda name, *_: SimpleNamespace(name=name, tasks=[running])
    )
    Watcher().poll()
    assert started == mirrored


KEYS: list[str] = []
"""The tasks whose state that test sets."""


@pytest.mark.long
@pytest.mark.parametrize("tool", TOOLS)
def test_twenty_kills_write_nothing_twice(chain: Chain, tool: str) -> None:
    chain.plan(tiny())
    draw = random.Random(0)
    command = module_command("rsctl", "mirror", "tiny", "--to", tool)
    started = time.monotonic()
    record(chain, 1, 50)
    subprocess.run(command, check=True, capture_output=True)
    whole, killed = time.monotonic() - started, 0
    for turn in range(20):
        record(chain, 51 + 40 * turn, 90 + 40 * turn)
        started = time.monotonic()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)  # fmt: skip
        try:
            process.wait(draw.uniform(0.2, 0.95) * whole)
            whole = time.monotonic() - started  # the machine is faster than it was
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            killed += 1
    assert killed >= 10
    subprocess.run(command, check=True, capture_output=True)
    for found in shown(chain, tool).values():
        assert [step for step, _ in found] == list(range(1, 851))
