"""A user on a private cluster: a folder with rsctl.toml, a sweep, a store, and what its tests look at."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chain import tiny, toml
from cluster import FAKE_JOBS, Cluster

from rsctl.cluster import control
from rsctl.cluster.task_status import TaskStatus
from rsctl.config.settings import Place, load_settings
from rsctl.store.attempts import State, attempt_numbers, read_attempt
from rsctl.store.files import replace
from rsctl.store.layout import Run, Store
from rsctl.store.tables import read_table

ENDED = (State.DONE, State.FAILED, State.CANCELLED, State.LOST, State.NEW)
COMMAND = str(Path(sys.executable).with_name("rsctl"))


@dataclass(frozen=True)
class Started:
    """A command that was started, and the file with all that it says."""

    process: subprocess.Popen[bytes]
    file: Path

    def said(self) -> str:
        return self.file.read_text()

    def wait_for(self, words: str, seconds: float = 300) -> None:
        """Until it has said something."""
        end = time.monotonic() + seconds
        while words not in self.said():
            assert time.monotonic() < end, f"it never said {words!r}: {self.said()[-1000:]}"
            time.sleep(0.1)

    def ended(self, seconds: float = 300) -> str:
        """Wait for its end; returns what it said."""
        self.process.wait(seconds)
        return self.said()


class Site:
    """A user on a cluster: a folder with rsctl.toml, a sweep, and a store."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self.cluster, self.folder = cluster, folder
        self.profile("slurm")

    @property
    def store(self) -> Store:
        return Store(self.folder / "runs")

    @property
    def place(self) -> Place:
        return load_settings()

    def profile(self, name: str, **values: Any) -> None:
        """Add a profile to rsctl.toml."""
        lines = [f"{key} = {_toml(value)}" for key, value in {"poll_seconds": 1, **values}.items()]
        with open(self.folder / "rsctl.toml", "a") as file:
            file.write(f'[profiles.{name}]\nbackend = "slurm"\n' + "\n".join(lines) + "\n")

    def sweep(self, sigmas: list[float] | None = None, **changes: Any) -> Path:
        """Write try.toml: the tiny sweep with other values, one model per sigma."""
        values = tiny(name="try", **changes)
        if sigmas:
            del values["sigma"]
            values["grid"] = {"sigma": sigmas}
        file = self.folder / "try.toml"
        file.write_text(toml(values))
        return file

    def behave(self, **values: Any) -> None:
        """What the fake tasks are to do: see `fake/jobs/behaviour.py`."""
        (self.folder / "runs").mkdir(exist_ok=True)
        # At once: tasks read it all the time, and one that finds half of it would fail.
        replace(self.folder / "runs" / "behaviour.json", json.dumps(values).encode())

    def rsctl(
        self, *arguments: str, fake: bool = False, code: int = 0, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """The command as a user runs it; with `fake`, its code snapshot has tasks that never import torch."""
        if fake:
            environment["PYTHONPATH"] = str(FAKE_JOBS)
        path = [environment.get("PYTHONPATH"), os.environ.get("PYTHONPATH")]
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, path))
        done = subprocess.run(
            [COMMAND, *arguments], cwd=self.folder, env={**os.environ, **environment},
            capture_output=True, text=True, timeout=900,
        )  # fmt: skip
        assert done.returncode == code, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def start(self, *arguments: str) -> Started:
        """A command that goes on beside the test."""
        file = self.folder / f"said-{time.monotonic_ns()}"
        with open(file, "w") as output:
            process = subprocess.Popen(
                [COMMAND, *arguments], cwd=self.folder, stdout=output, stderr=subprocess.STDOUT
            )
        return Started(process, file)

    def submit(self, *options: str, fake: bool = True, code: int = 0) -> str:
        """Submit the sweep to SLURM; returns what the command said."""
        if "--cluster" not in options:
            options = ("--cluster", "slurm", *options)
        return self.rsctl("submit", "try.toml", *options, fake=fake, code=code).stderr

    def statuses(self) -> dict[str, TaskStatus]:
        return control.sweep_statuses(self.place, "try")

    def states(self) -> list[str]:
        """States of all tasks, models first."""
        return [status.state.value for status in self.statuses().values()]

    def wait(self, holds: Callable[[list[str]], bool] | None = None, seconds: float = 300) -> list[str]:
        """Until every task has ended, or until the states are as wanted."""
        end = time.monotonic() + seconds
        while True:
            states = self.states()
            if holds(states) if holds else all(State(state) in ENDED for state in states):
                return states
            assert time.monotonic() < end, (
                f"{self.explain()}\n{self.cluster.query('squeue', '--states=all', '-r')}"
            )
            time.sleep(0.3)

    def a_minute_passes(self) -> None:
        """As if: a job that isn't seen for a minute after its claim is called lost."""
        for file in self.folder.glob("runs/*/*/submissions/*.json"):
            record = json.loads(file.read_text())
            file.write_text(json.dumps({**record, "claimed": record["claimed"] - 100}))

    def running(self) -> list[str]:
        """The jobs and array tasks that SLURM runs."""
        return [job for job, state in self.cluster.queue().items() if state == "RUNNING"]

    def waiting_jobs(self) -> str:
        """What the cluster still has of this user."""
        return self.cluster.query("squeue", "-h", "-t", "PD,R,CG,CF")

    def explain(self) -> str:
        return "\n".join(f"{key}: {s.state.value}: {s.reason}" for key, s in self.statuses().items())


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + " }"
    return json.dumps(value)


def attempts(run: Run, task: int = 0) -> list[str]:
    """How every attempt at a task ended, in their order; empty for one that didn't say."""
    return [read_attempt(run, task, number).ended for number in attempt_numbers(run).get(task, [])]


def progress(run: Run, task: int = 0) -> float:
    """What the newest attempt says it has done."""
    numbers = attempt_numbers(run).get(task)
    return float(read_attempt(run, task, numbers[-1]).progress.get("done", 0)) if numbers else 0.0


def image_counts(store: Store) -> dict[str, dict[int, tuple[list[int], list[int]]]]:
    """Certification run → image → its selection and estimation counts."""
    found = {}
    for run in store.runs("counts"):
        rows = read_table(run).rows
        counts = zip(rows.index, rows.selection_counts, rows.counts, strict=True)
        found[run.id] = {int(i): (s.tolist(), c.tolist()) for i, s, c in counts}
    return found
