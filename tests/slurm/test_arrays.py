"""Sweeps as job arrays: what is handed over, what fails alone, what is cancelled, what retry completes."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cluster import FAKE_JOBS

from rsctl.store.layout import Run

if TYPE_CHECKING:
    from sites import Site


def jobs_of(site: Site) -> list[str]:
    """The cluster's job numbers that carry this store's submissions."""
    return sorted({job.partition("_")[0] for job in site.cluster.queue_of(site.store.root)})


def test_one_task_fails_one_is_cancelled_and_retry_completes_both(any_site: Site) -> None:
    site = any_site
    site.sweep(certification={"shards": 12, "max_images": 12})
    site.behave(count_fails=[3], steps=6, seconds=0.25)
    site.submit()
    counts = next(Path(site.folder / "runs" / "counts").iterdir()).name
    site.wait(lambda states: states[0] == "done")
    site.rsctl("cancel", f"{counts}/5")
    states = site.wait()
    assert states == ["done"] * 4 + ["failed", "done", "cancelled"] + ["done"] * 6
    reasons = [s.reason for s in site.statuses().values()]
    assert reasons[4] == "asked to fail"
    assert reasons[6] == "cancelled by you"
    site.behave()
    said = site.rsctl("retry", "try", fake=True).stdout
    assert said.count("restarted") == 2
    assert site.wait() == ["done"] * 13


def test_a_failed_training_cancels_its_own_certification_only_and_retry_runs_both(any_site: Site) -> None:
    site = any_site
    site.sweep([0.25, 0.5])
    site.behave(train_fails=[0.25])
    site.submit()
    assert site.wait() == ["failed", "done", "cancelled", "cancelled", "done", "done"]
    reasons = [status.reason for status in site.statuses().values()]
    assert reasons[0] == "asked to fail"
    assert "the job of its model failed" in reasons[2], site.explain()
    site.behave()
    assert site.rsctl("retry", "try", fake=True).stdout.count("restarted") == 3
    assert site.wait() == ["done"] * 6


def test_one_array_of_trainings_and_one_of_certifications_per_model(site: Site) -> None:
    site.sweep([0.25, 0.5], certification={"shards": 3})
    site.profile("held", extra={"hold": True})
    site.submit("--cluster", "held")
    assert len(jobs_of(site)) == 3
    assert "0 submitted, 8 already under way" in site.submit("--cluster", "held")
    assert len(jobs_of(site)) == 3
    # With the models there, all certifications share one array.
    site.rsctl("cancel", "try")
    site.wait()
    for folder in (site.folder / "runs" / "models").iterdir():
        Run(folder).model_file.write_bytes(b"a model")
    site.submit()
    assert len(jobs_of(site)) == 4
    assert site.wait() == ["done"] * 8


def test_what_is_edited_while_it_waits_changes_nothing_and_a_jobs_file_here_shadows_nothing(
    site: Site,
) -> None:
    site.sweep()
    mine = site.folder / "mine"
    shutil.copytree(FAKE_JOBS, mine)
    (site.folder / "jobs.py").write_text("raise RuntimeError('the wrong jobs')")
    site.profile("held", extra={"hold": True})
    site.rsctl("submit", "try.toml", "--cluster", "held", PYTHONPATH=str(mine))
    for name in ("training/train", "certify/count"):
        (mine / "jobs" / f"{name}.py").write_text("raise RuntimeError('edited while it waited')")
    for job in jobs_of(site):
        site.cluster.query("scontrol", "release", job)
    assert site.wait() == ["done"] * 3


def test_logs_show_the_task_and_what_slurm_said_around_it(site: Site) -> None:
    site.sweep(certification={"shards": 1})
    site.profile("odd", setup=["echo the module system greets"])
    site.submit("--cluster", "odd")
    site.wait()
    run = next(site.store.runs("models"))
    shown = site.rsctl("logs", run.id).stdout
    assert "starts at 0 on cpu" in shown
    assert "the module system greets" in shown


def test_tasks_that_come_later_wait_for_the_training_that_is_already_queued(site: Site) -> None:
    site.sweep(certification={"shards": 1, "max_images": 4})
    site.behave(wait=True)
    site.submit()
    site.wait(lambda states: states[0] == "running")
    site.sweep(certification={"shards": 1, "max_images": 8})
    assert "1 submitted, 2 already under way" in site.submit("--update")
    # SLURM gives its reason only after its next look at the queue.
    site.wait(lambda states: states == ["running", "waiting", "waiting"])
    site.behave()
    assert site.wait() == ["done"] * 3


def test_verifications_and_attacks_wait_for_the_model_as_sampling_does(site: Site) -> None:
    file = site.sweep(certification={"shards": 2})
    tables = ["[[verification]]", 'verifier = "ibp"', "[[attack]]", 'attack = "pgd"', "epsilon = 0.5"]
    file.write_text("\n".join([file.read_text(), *tables]))
    site.behave(count_fails=[1])
    site.submit()
    states = site.wait()
    kinds = [status.task.run.kind for status in site.statuses().values()]
    assert kinds == ["models"] + ["counts"] * 2 + ["verifications"] * 2 + ["attacks"] * 2
    assert states == ["done"] + ["done", "failed"] * 3
    names = site.cluster.query("squeue", "-h", "--states=all", "-o", "%j").split()
    assert {name.split(":")[1] for name in names} >= {"train", "certify", "verify", "attack"}
    site.behave()
    assert site.rsctl("retry", "try", fake=True).stdout.count("restarted") == 3
    assert site.wait() == ["done"] * 7


PARENTS = """
[[method]]
name = "cat-rs"
[method.start]
name = "gaussian"
sigma = 0.1
[[method]]
name = "heat"
[method.teacher]
name = "gaussian"
sigma = 0.12
"""


def test_students_wait_for_their_start_and_their_teacher_and_for_no_other_model(site: Site) -> None:
    """CAT-RS starts from one model and learns from the predictions of another; HEAT starts from its own and gets a teacher."""
    file = site.sweep(certification={"shards": 1})
    file.write_text(file.read_text().replace('method = "gaussian"\n', "") + PARENTS)
    site.behave(train_fails=[0.1])
    site.submit()
    site.wait()

    def state_of(kind: str, name: str) -> str:
        return next(
            s.state.value for s in site.statuses().values() if s.task.run.kind == kind and s.task.run.id.startswith(name)
        )  # fmt: skip

    assert (state_of("models", "gaussian-digits-s0.1-"), state_of("models", "cat-rs")) == (
        "failed",
        "cancelled",
    )
    assert (state_of("counts", "cat-rs"), state_of("counts", "heat")) == ("cancelled", "done")
    assert sorted(site.states()) == ["cancelled"] * 2 + ["done"] * 6 + ["failed"]
    site.behave()
    assert site.rsctl("retry", "try", fake=True).stdout.count("restarted") == 3
    assert site.wait() == ["done"] * 9


@pytest.mark.parametrize(
    ("profile", "gpus", "shown"),
    [
        ({"partition": "gpu"}, "auto", "gpus 0"),
        ({"partition": "gpu"}, 2, "gpus 0,1"),
        ({"partition": "preempt", "gres": "gpu:fake:2"}, "auto", "gpus 0,1"),
        ({"partition": "cpu"}, "auto", "gpus none"),
    ],
)
def test_a_task_gets_the_gpus_it_asked_for(
    site: Site, profile: dict[str, object], gpus: object, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    site.profile("chosen", **profile)
    site.sweep(
        certification={"shards": 1},
        resources={"training": {"threads": 1, "gpus": 0}, "certification": {"threads": 1, "gpus": gpus}},
    )
    site.submit("--cluster", "chosen")
    assert site.wait() == ["done"] * 2
    assert shown in next(site.store.runs("counts")).log_file(0).read_text()


@pytest.mark.long
def test_two_hundred_tasks(site: Site) -> None:
    site.sweep(certification={"shards": 200, "max_images": 200})
    site.behave(count_fails=[77], steps=3, seconds=0.2)
    site.submit()
    counts = next(site.store.runs("counts"))
    site.wait(lambda states: states.count("done") >= 20, seconds=600)
    site.rsctl("cancel", f"{counts.id}/199")
    states = site.wait(seconds=600)
    assert (states.count("done"), states[1 + 77], states[1 + 199]) == (199, "failed", "cancelled")
    site.behave()
    site.rsctl("retry", "try", fake=True)
    assert site.wait(seconds=600) == ["done"] * 201
