"""A store with three sweeps: one done, one under way, one that failed."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from dashboard_store import Synthetic, make_store
from piloting import settled, until

from rsctl.tui.app import Dashboard, make_app

Drive = Callable[[Dashboard, Any], Coroutine[Any, Any, None]]


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Oldest first, so that `going` is on top: `failed`, `finished`, `going`."""
    folder = tmp_path_factory.mktemp("dashboard")
    with pytest.MonkeyPatch.context() as patch:
        made = make_store(folder, patch)
        made.sweep("failed", sigmas=[1.0], seeds=[0])
        claim = made.train(made.models("failed")[0], finish=False)
        claim.write("end", state="failed", reason="training diverged: the loss is nan at step 9")
        _older(made, "failed", 20)
        made.sweep("finished", sigmas=[0.25, 0.5], seeds=[0], description="two noise levels")
        made.complete("finished")
        _older(made, "finished", 10)
        made.sweep("going", sigmas=[0.12, 0.25], seeds=[1])
        made.train(made.models("going")[0])
        made.count(made.counts("going")[0], 0, share=0.5, finish=False)
        made.train(made.models("going")[1], steps=100, finish=False)
    # Its snapshot of the code is most of a store's files, and no test here runs a task.
    shutil.rmtree(folder / "runs" / "code")
    return folder


@pytest.fixture
def synthetic(made_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Synthetic:
    """A copy of that store for each test, and no draft of the form that another one left."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    shutil.copytree(made_once, tmp_path, dirs_exist_ok=True)
    return make_store(tmp_path, monkeypatch)


def _older(made: Synthetic, name: str, seconds: float) -> None:
    import os

    file = made.store.sweep_folder(name) / "plan.json"
    when = time.time() - seconds
    os.utime(file, (when, when))


@pytest.fixture
def drive(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Run the dashboard without a terminal and do something with it.

    Textual's pilot waits after each key until the whole process is idle, background threads and all, up to a
    second. Here it waits until the screen has nothing left to do.
    """
    monkeypatch.setattr("rsctl.tui.app.TICK", 0.2)

    def run(steps: Drive, size: tuple[int, int] = (120, 40)) -> None:
        async def main() -> None:
            app = make_app()
            for place in ("textual.app", "textual.pilot"):
                monkeypatch.setattr(f"{place}.wait_for_idle", lambda *_: settled(app))
            async with app.run_test(size=size) as pilot:
                await until(pilot, lambda: app.overview is not None, "the first look")
                await steps(app, pilot)

        asyncio.run(main())

    return run
