"""A private SLURM cluster for the tests of this folder, and a store beside it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from chain import tiny, toml
from cluster import FAKE_JOBS, Cluster, missing_programs

import rsctl.cluster.slurm_commands as slurm_commands
import rsctl.cluster.slurm_watch as slurm_watch
from rsctl.cluster import control
from rsctl.spec.settings import Place, load_settings
from rsctl.store.attempts import State
from rsctl.store.layout import Store

ENDED = (State.DONE, State.FAILED, State.CANCELLED, State.LOST, State.NEW)


def _running(tmp_path_factory: pytest.TempPathFactory, **options: Any) -> Iterator[Cluster]:
    missing = missing_programs(bool(options.get("accounting")))
    if missing:
        pytest.skip(
            f"not installed: {', '.join(missing)} (Debian: slurm-wlm munge; with accounting slurmdbd mariadb-server)"
        )
    cluster = Cluster(tmp_path_factory.mktemp("cluster") / "root", **options)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture(scope="session")
def plain_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster without accounting."""
    yield from _running(tmp_path_factory, name="plain")


@pytest.fixture(scope="session")
def accounted_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster with accounting, which alone remembers a job that ended ten seconds ago."""
    yield from _running(tmp_path_factory, name="accounted", accounting=True, remember=2)


@pytest.fixture(scope="session")
def forgetful_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster that nobody can ask about a job that ended ten seconds ago."""
    yield from _running(tmp_path_factory, name="forgetful", remember=2)


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
        (self.folder / "runs" / "behaviour.json").write_text(json.dumps(values))

    def rsctl(
        self, *arguments: str, fake: bool = False, code: int = 0, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """The command as a user runs it; with `fake`, its code snapshot has tasks that never import torch."""
        if fake:
            environment["PYTHONPATH"] = str(FAKE_JOBS)
        path = [environment.get("PYTHONPATH"), os.environ.get("PYTHONPATH")]
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, path))
        done = subprocess.run(
            [str(Path(sys.executable).with_name("rsctl")), *arguments],
            cwd=self.folder, env={**os.environ, **environment}, capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        assert done.returncode == code, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def submit(self, *options: str, fake: bool = True, code: int = 0) -> str:
        """Submit the sweep to SLURM; returns what the command said."""
        if "--cluster" not in options:
            options = ("--cluster", "slurm", *options)
        return self.rsctl("submit", "try.toml", *options, fake=fake, code=code).stderr

    def statuses(self) -> dict[str, control.TaskStatus]:
        return control.sweep_statuses(self.place, "try")

    def states(self) -> list[str]:
        """States of all tasks, models first."""
        return [status.state.value for status in self.statuses().values()]

    def wait(self, holds: Callable[[list[str]], bool] | None = None, seconds: float = 120) -> list[str]:
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

    def explain(self) -> str:
        return "\n".join(f"{key}: {s.state.value}: {s.reason}" for key, s in self.statuses().items())


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + " }"
    return json.dumps(value)


def _site(cluster: Cluster, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    for name, value in cluster.environment.items():
        monkeypatch.setenv(name, value)
    for name in ("RSCTL_STORE", "RSCTL_DATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RSCTL_CONFIG", str(folder / "rsctl.toml"))
    monkeypatch.setattr(slurm_watch.WATCH, "__dict__", slurm_watch.Watch().__dict__)
    slurm_commands.limits.cache_clear()
    return Site(cluster, folder)


def _leave(cluster: Cluster) -> None:
    cluster.query("scancel", "--full", f"--user={os.getuid()}")
    cluster.query("scancel", "--signal=KILL", f"--user={os.getuid()}")
    cluster.wait_until(lambda: not cluster.query("squeue", "-h", "-t", "R,CG,PD,S"), "all jobs are gone")


@pytest.fixture
def site(plain_cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A user on a cluster without accounting; afterwards its queue is empty."""
    yield _site(plain_cluster, tmp_path, monkeypatch)
    _leave(plain_cluster)


@pytest.fixture
def accounted_site(
    accounted_cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Site]:
    """A user on a cluster with accounting; afterwards its queue is empty."""
    yield _site(accounted_cluster, tmp_path, monkeypatch)
    _leave(accounted_cluster)


@pytest.fixture
def forgetful_site(
    forgetful_cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Site]:
    """A user on a cluster that forgets."""
    yield _site(forgetful_cluster, tmp_path, monkeypatch)
    _leave(forgetful_cluster)


@pytest.fixture(params=["plain", "accounted"])
def any_site(request: pytest.FixtureRequest) -> Site:
    """Both, one after the other."""
    site: Site = request.getfixturevalue("site" if request.param == "plain" else "accounted_site")
    return site
