"""Real training and real sampling on SLURM: the same counts as on this machine, whatever interrupts them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sites import attempts, image_counts, progress

from rsctl.store.attempts import read_attempt
from rsctl.store.layout import Store

if TYPE_CHECKING:
    from sites import Site

    from rsctl.store.layout import Run

LONGER = {
    "training": {"epochs": 60, "warmup_epochs": 0.0},
    "certification": {"n": 20_000, "max_images": 20, "shards": 1},
}


def local(site: Site, folder: Path) -> Store:
    """The same sweep by the local backend, in a store of its own."""
    site.rsctl("submit", "try.toml", "--cluster", "local", "--wait", RSCTL_STORE=str(folder))
    return Store(folder)


def interrupted(site: Site, run: Run, job: str) -> None:
    """Warn a running job once it has got somewhere."""
    site.wait(lambda _: progress(run) > 0)
    site.cluster.query("scancel", "--signal=USR2", job, check=True)


def test_a_sweep_through_slurm_counts_what_the_local_backend_counts(site: Site, tmp_path: Path) -> None:
    site.sweep()
    site.submit(fake=False)
    assert site.wait() == ["done"] * 3
    site.sweep(certification={"shards": 1})
    assert image_counts(site.store) == image_counts(local(site, tmp_path / "local"))
    assert "| gaussian" in site.rsctl("export", "try").stdout


@pytest.mark.long
def test_the_quickstart_through_slurm_is_the_quickstart(any_site: Site, tmp_path: Path) -> None:
    site = any_site
    site.rsctl("new", "quickstart", "-o", "try.toml")
    shown = site.rsctl("submit", "try.toml", "--cluster", "slurm", "--wait").stdout
    alone = Store(tmp_path / "local")
    here = {"RSCTL_STORE": str(alone.root)}
    assert site.rsctl("submit", "try.toml", "--cluster", "local", "--wait", **here).stdout == shown
    assert len(image_counts(alone)) == 2
    assert image_counts(site.store) == image_counts(alone)


@pytest.mark.long
def test_interrupted_training_and_certification_count_what_undisturbed_ones_do(
    site: Site, tmp_path: Path
) -> None:
    site.profile("careful", snapshot_seconds=0.5)
    site.sweep(**LONGER)
    site.submit("--cluster", "careful", fake=False)
    model, counts = next(site.store.runs("models")), next(site.store.runs("counts"))
    for index, run in enumerate((model, counts)):
        site.wait(lambda states: states[index] == "running")  # noqa: B023
        interrupted(site, run, site.running()[0])
    assert site.wait(seconds=300) == ["done"] * 2
    for run in (model, counts):
        assert attempts(run) == ["stopped", "done"]
    assert "resumed at step" in model.log_file(0).read_text()
    assert image_counts(site.store) == image_counts(local(site, tmp_path / "local"))


@pytest.mark.long
def test_a_second_living_copy_changes_no_result(site: Site, tmp_path: Path) -> None:
    """A node that is only thought dead goes on beside its successor."""
    site.sweep(certification=LONGER["certification"])
    site.submit(fake=False)
    site.wait(lambda states: states == ["done", "running"])
    counts = next(site.store.runs("counts"))
    site.wait(lambda _: progress(counts) > 0)
    site.rsctl("task", counts.id, "0")
    assert site.wait(seconds=300)[0] == "done"
    assert len(attempts(counts)) >= 2
    assert image_counts(site.store) == image_counts(local(site, tmp_path / "local"))


@pytest.mark.long
def test_two_hundred_real_tasks(site: Site, tmp_path: Path) -> None:
    """Each imports torch, which costs 3 CPU-seconds; four at once, for they share one machine here."""
    site.profile("many", array_parallelism=4)
    site.sweep(certification={"shards": 200, "max_images": 200, "n": 100})
    site.submit("--cluster", "many", fake=False)
    (counts,) = site.store.runs("counts")
    file = counts.task_file(77)
    images = file.read_text()
    file.write_text('{"images": [999999]}')
    site.wait(lambda states: states.count("done") >= 3, seconds=600)
    site.rsctl("cancel", f"{counts.id}/199")
    states = site.wait(seconds=7200)
    assert (states.count("done"), states[1 + 77], states[1 + 199]) == (199, "failed", "cancelled")
    file.write_text(images)
    assert site.rsctl("retry", "try").stdout.count("restarted") == 2
    assert site.wait(seconds=600) == ["done"] * 201
    assert len(image_counts(site.store)[counts.id]) == 200
    # How images are dealt to tasks is nothing to their counts.
    site.sweep(certification={"shards": 1, "max_images": 200, "n": 100})
    assert image_counts(site.store) == image_counts(local(site, tmp_path / "local"))


@pytest.mark.parametrize("nodes", [pytest.param(1, marks=pytest.mark.long), 2])
def test_training_in_two_processes_meets_and_learns(site: Site, nodes: int) -> None:
    site.sweep(
        certification={"shards": 1},
        resources={"training": {"threads": 1, "gpus": 0, "processes": 2, "nodes": nodes}},
    )
    site.submit(fake=False)
    assert site.wait() == ["done"] * 2, site.explain()
    run = next(site.store.runs("models"))
    assert attempts(run) == ["done"]
    claim = read_attempt(run, 0, 1).claim
    assert claim["rendezvous"]["hosts"] == ["127.0.0.1"]
    (folder,) = {s.parent for s in (site.folder / "runs" / "submissions").glob("*/*_1_log.out")}
    assert "attempt 1" in next(folder.glob("*_1_log.out")).read_text()
