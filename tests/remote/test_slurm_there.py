"""A cluster's login node as the other machine: a real SLURM behind the sshd, used by another user."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from chain import Chain, tiny
from sshd import FarMachine, entered

sys.path.insert(0, str(Path(__file__).parents[1] / "slurm"))
from cluster import Cluster, missing_programs

pytestmark = pytest.mark.long


class OpenCluster(Cluster):
    """A cluster whose nodes let every user reach this Python."""

    def _run(self, *command: str) -> None:
        super()._run(*(entered(list(command)) if command[0] == "slurmd" else command))


@pytest.fixture
def behind(far: FarMachine) -> Iterator[Cluster]:
    """SLURM behind the other machine."""
    if missing := missing_programs(False):
        pytest.skip(f"not installed: {', '.join(missing)} (Debian: slurm-wlm munge)")
    cluster = OpenCluster(far.root / "slurm", name="far")
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


def test_a_sweep_is_submitted_watched_and_pulled(far: FarMachine, behind: Cluster, chain: Chain) -> None:
    settings = chain.folder / "rsctl.toml"
    lines = [f'export SLURM_CONF="{behind.conf}"', "export PATH=$PATH:/usr/sbin"]
    settings.write_text(f"{settings.read_text()}setup = [{', '.join(repr(line) for line in lines)}]\n")
    file = chain.file(tiny())
    done = chain.cli("--at", "far", "submit", file, "--cluster", "slurm", timeout=100)
    assert done.code == 0, done.err
    assert "3 submitted" in done.err
    assert chain.cli("--at", "far", "submit", file, "--cluster", "slurm").code == 0
    done = chain.cli("pull", "far", "tiny", "--watch", "--every", "1", timeout=400)
    assert done.code == 0, done.err
    assert done.out.splitlines()[-1].startswith("tiny: 3 done on far; ")
    assert len(done.out.splitlines()) > 1  # it was pulled while it ran, too
    assert (
        chain.cli("export", "tiny", "--format", "csv").out
        == chain.cli("--at", "far", "export", "tiny", "--format", "csv").out
    )
    assert len(behind.queue()) == 3  # nothing was submitted twice
