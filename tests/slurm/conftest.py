"""Private SLURM clusters for the tests of this folder, each with a user and a store beside it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from cluster import Cluster, missing_programs
from sites import Site

import rsctl.cluster.slurm_commands as slurm_commands
import rsctl.cluster.slurm_watch as slurm_watch


def _cluster(name: str, **options: Any) -> Callable[..., Iterator[Cluster]]:
    """A session's cluster as the fixture `<name>_cluster`."""

    @pytest.fixture(scope="session", name=f"{name}_cluster")
    def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
        if missing := missing_programs(bool(options.get("accounting"))):
            pytest.skip(
                f"not installed: {', '.join(missing)} (Debian: slurm-wlm munge; with accounting slurmdbd mariadb-server)"
            )
        cluster = Cluster(tmp_path_factory.mktemp("cluster") / "root", name=name, **options)
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.stop()

    return running


def _site(name: str, cluster: str) -> Callable[..., Iterator[Site]]:
    """A user on a cluster as the fixture `name`; afterwards its queue is empty."""

    @pytest.fixture(name=name)
    def entered(
        request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[Site]:
        on: Cluster = request.getfixturevalue(f"{cluster}_cluster")
        for variable, value in on.environment.items():
            monkeypatch.setenv(variable, value)
        for variable in ("RSCTL_STORE", "RSCTL_DATA"):
            monkeypatch.delenv(variable, raising=False)
        monkeypatch.setenv("RSCTL_CONFIG", str(tmp_path / "rsctl.toml"))
        monkeypatch.setattr(slurm_watch.WATCH, "__dict__", slurm_watch.Watch().__dict__)
        slurm_commands.limits.cache_clear()
        yield Site(on, tmp_path)
        on.query("scancel", "--full", f"--user={os.getuid()}")
        on.query("scancel", "--signal=KILL", f"--user={os.getuid()}")
        on.wait_until(lambda: not on.query("squeue", "-h", "-t", "R,CG,PD,S"), "all jobs are gone")

    return entered


plain_cluster = _cluster("plain")
accounted_cluster = _cluster("accounted", accounting=True, remember=2)  # accounting alone remembers
forgetful_cluster = _cluster("forgetful", remember=2)  # nobody knows a job that ended ten seconds ago
strict_cluster = _cluster("strict", memory_kill=True)

site = _site("site", "plain")
accounted_site = _site("accounted_site", "accounted")
forgetful_site = _site("forgetful_site", "forgetful")
strict_site = _site("strict_site", "strict")


@pytest.fixture(params=["site", "accounted_site"])
def any_site(request: pytest.FixtureRequest) -> Site:
    """Without accounting, then with it."""
    found: Site = request.getfixturevalue(request.param)
    return found
