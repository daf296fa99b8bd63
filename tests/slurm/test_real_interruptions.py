"""Real training and sampling under real pre-emption, time limits and dead nodes: the bytes of an undisturbed run.

A minute of training and a minute of sampling each, against one undisturbed run on this machine.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from chain import tiny, toml
from sites import COMMAND, attempts, image_counts, progress

from rsctl.store.attempts import read_attempt
from rsctl.store.layout import Run, Store

if TYPE_CHECKING:
    from sites import Site

pytestmark = pytest.mark.long

MINUTES = {
    "training": {"epochs": 700, "warmup_epochs": 0.0},
    "certification": {"n": 250_000, "max_images": 20, "shards": 1},
}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The store of the same sweep, run by the local backend without interruption."""
    folder = tmp_path_factory.mktemp("undisturbed")
    (folder / "try.toml").write_text(toml(tiny(name="try", **MINUTES)))
    here = {**os.environ, "RSCTL_STORE": str(folder / "runs")}
    subprocess.run([COMMAND, "submit", "try.toml", "--wait"], cwd=folder, env=here, check=True)
    return Store(folder / "runs")


def same(site: Site, undisturbed: Store) -> bool:
    """Whether weights, counts and the table made of them are those of the undisturbed run."""
    (mine,), (other,) = site.store.runs("models"), undisturbed.runs("models")
    assert mine.model_file.read_bytes() == other.model_file.read_bytes()
    assert image_counts(site.store) == image_counts(undisturbed)
    table = site.rsctl("export", "try", "--format", "csv").stdout
    return table == site.rsctl("export", "try", "--format", "csv", RSCTL_STORE=str(undisturbed.root)).stdout


def started(site: Site) -> tuple[Run, Run]:
    return next(iter(site.store.runs("models"))), next(iter(site.store.runs("counts")))


def under_way(site: Site, run: Run) -> str:
    """The node that works at a run, once it has got somewhere there."""
    site.wait(lambda _: progress(run) > 0, seconds=900)
    return next(s.node for s in site.statuses().values() if s.task.run == run)


def _beginning(run: Run, number: int) -> float:
    return float(read_attempt(run, 0, number).claim["time"])


def test_preempted_training_and_certification(site: Site, undisturbed: Store) -> None:
    site.profile("guest", partition="preempt", snapshot_seconds=1)
    site.sweep(**MINUTES)
    site.submit("--cluster", "guest", fake=False)
    for run in started(site):
        node = under_way(site, run)
        first = "gpu" if node.startswith("gpu") else "cpu"
        site.cluster.query(
            "sbatch", "-p", first, "-w", node, "--exclusive", "-o", "/dev/null", "--wrap", "sleep 3", check=True
        )  # fmt: skip
        site.wait(lambda _: len(attempts(run)) == 2, seconds=400)  # noqa: B023
    assert site.wait(seconds=1200) == ["done"] * 2
    assert [attempts(run) for run in started(site)] == [["stopped", "done"]] * 2
    assert "resumed at step" in started(site)[0].log_file(0).read_text()
    assert same(site, undisturbed)


def test_time_limits_during_training_and_certification(site: Site, undisturbed: Store) -> None:
    """Each stage reaches a limit once: it is lowered when the stage has got somewhere, and raised when it is requeued."""
    site.profile("short", minutes=60, warning_seconds=20)
    site.sweep(**MINUTES)
    site.submit("--cluster", "short", fake=False)
    for run in started(site):
        under_way(site, run)
        (job,) = site.running()
        site.cluster.query("scontrol", "update", f"jobid={job}", "timelimit=1", check=True)
        site.wait(lambda _: attempts(run) == ["stopped"], seconds=400)  # noqa: B023
        site.cluster.query("scontrol", "update", f"jobid={job}", "timelimit=60", check=True)
        site.wait(lambda _: len(attempts(run)) == 2, seconds=400)  # noqa: B023
    assert site.wait(seconds=1200) == ["done"] * 2
    for run in started(site):
        assert attempts(run) == ["stopped", "done"]
        assert "signal SIGUSR2" in run.log_file(0).read_text()
    assert same(site, undisturbed)


@pytest.mark.parametrize("whole", [True, False], ids=["pulled", "cut off but alive"])
def test_a_node_that_dies_during_certification(site: Site, undisturbed: Store, whole: bool) -> None:
    """SLURM declares it down, and starts the task elsewhere; a node that is only cut off works on beside it."""
    site.profile("careful", snapshot_seconds=1)
    site.sweep(**MINUTES)
    # The model is there already: this is about sampling.
    shutil.copytree(undisturbed.root / "models", site.store.root / "models")
    site.submit("--cluster", "careful", fake=False)
    (counts,) = site.store.runs("counts")
    node = under_way(site, counts)
    site.cluster.kill_node(node, whole=whole)
    try:
        site.wait(lambda _: len(attempts(counts)) == 2, seconds=400)
        assert next(s.node for s in site.statuses().values() if s.task.run == counts) != node
        assert site.wait(seconds=1200) == ["done"] * 2
    finally:
        site.cluster.start_node(node)
        site.cluster.query("scontrol", "update", f"nodename={node}", "state=resume")
    if not whole:
        # The first copy lived when the second began, saw it, and stopped.
        first = read_attempt(counts, 0, 1)
        assert float(first.end["time"]) > _beginning(counts, 2)
        assert first.ended == "stopped"
    assert same(site, undisturbed)
