"""What a cluster won't run is a sentence before anything is submitted, and nothing is half-submitted."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sites import attempts

if TYPE_CHECKING:
    from sites import Site


@pytest.mark.parametrize(
    ("profile", "changes", "words"),
    [
        ({"partition": "cpuu"}, {}, ["profiles.odd.partition", "unknown partition 'cpuu'", "'cpu'", "short"]),
        ({"partition": "short", "minutes": 60}, {}, ["profiles.odd.minutes", "60 minutes", "allows 5"]),
        (
            {"partition": "short"},
            {"resources": {"certification": {"threads": 1, "gpus": 0, "minutes": 6}}},
            ["resources.certification.minutes", "allows 5"],
        ),
        ({"partition": "gpu", "gres": "gpu:fake:3"}, {"resources": {"certification": {"threads": 1}}}, ["profiles.odd", "gres"]),
        ({"constraint": "fast"}, {}, ["profiles.odd", "constraint"]),
        ({}, {"resources": {"certification": {"threads": 99, "gpus": 0}}}, ["resources.certification.threads", "99", "has 8"]),
        ({"partition": "gpu"}, {"resources": {"certification": {"threads": 1, "gpus": 3}}}, ["resources.certification.gpus", "3", "has 2"]),
        ({"memory_gb": 99.5}, {}, ["profiles.odd.memory_gb", "99.5"]),
        ({"extra": {"no-such-option": 1}}, {}, ["profiles.odd", "no-such-option", "extra"]),
        ({"extra": {"clusters": "other"}}, {}, ["profiles.odd.extra", "clusters", "one cluster at a time", "SLURM_CONF"]),
        ({}, {"resources": {"training": {"processes": 3, "nodes": 2, "threads": 1, "gpus": 0}}}, ["resources.training.processes", "3", "2 nodes"]),
    ],
)  # fmt: skip
def test_what_a_cluster_cannot_run_is_a_sentence(
    site: Site, profile: dict[str, Any], changes: dict[str, Any], words: list[str]
) -> None:
    site.profile("odd", **profile)
    site.sweep(**changes)
    said = site.submit("--cluster", "odd", code=2)
    assert all(word in said for word in words), said
    assert "Traceback" not in said
    assert site.waiting_jobs() == ""


def test_a_refusal_in_the_middle_takes_back_what_was_accepted(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.sweep()
    sbatch = tmp_path / "bin" / "sbatch"
    sbatch.parent.mkdir()
    real = shutil.which("sbatch")
    sbatch.write_text(
        f'#!/bin/sh\nmkdir {tmp_path}/once 2>/dev/null && exec {real} "$@"\n'
        "echo 'sbatch: error: Batch job submission failed: Job violates accounting/QOS policy (job submit limit)' >&2\nexit 1\n"
    )
    sbatch.chmod(0o755)
    with monkeypatch.context() as patch:
        patch.setenv("PATH", f"{sbatch.parent}:{os.environ['PATH']}")
        said = site.submit(code=2)
    assert said.count("job submit limit") == 1  # explained, and not once more as sbatch printed it
    assert "or submit again later" in said
    assert "sbatch: error" not in said
    assert "Nothing was submitted" in said
    assert site.waiting_jobs() == ""
    assert not list((site.folder / "runs").glob("*/*/submissions/*.json"))
    # Nothing is spoilt: the same command runs it once the limit allows.
    site.submit()
    assert site.wait() == ["done"] * 3


def test_a_controller_that_leaves_in_the_middle_keeps_what_it_took_and_the_rest_follows(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.sweep()
    site.behave(wait=True)
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("sbatch", "squeue"):
        # After the first job nobody answers.
        (programs / name).write_text(
            f"#!/bin/sh\nif [ -e {tmp_path}/taken ]; then\n"
            f"  echo '{name}: error: Unable to contact slurm controller (connect failure)' >&2; exit 1\nfi\n"
            + (f"touch {tmp_path}/taken\n" if name == "sbatch" else "")
            + f'exec {shutil.which(name)} "$@"\n'
        )
        (programs / name).chmod(0o755)
    with monkeypatch.context() as patch:
        patch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
        said = site.submit(code=3)
    assert "it has confirmed 1 of 3 tasks" in said
    assert "Nothing was submitted" not in said
    site.wait(lambda states: states[0] == "running")
    site.a_minute_passes()
    assert "2 submitted, 1 already under way" in site.submit()
    site.behave()
    assert site.wait() == ["done"] * 3
    assert [attempts(run) for run in site.store.runs("models")] == [["done"]]


def test_an_unknown_account_is_refused_in_slurms_words(accounted_site: Site) -> None:
    site = accounted_site
    site.profile("odd", account="nobody")
    site.sweep()
    said = site.submit("--cluster", "odd", code=2)
    assert "profiles.odd: account" in said, said
    assert site.waiting_jobs() == ""


def test_a_submitter_killed_before_sbatch_answered_leaves_a_job_that_is_found(site: Site) -> None:
    site.sweep()
    site.behave(wait=True)
    site.submit()
    site.wait(lambda states: "running" in states)
    # As the crash leaves it: the claim is there, the job's number isn't.
    for file in (site.folder / "runs" / "models").glob("*/submissions/*.json"):
        text = file.read_text()
        number = text.split('"job": "')[1].split('"')[0]
        file.write_text(text.replace(f'"job": "{number}"', '"job": ""'))
    assert site.states()[0] == "running"
    assert "already under way" in site.submit()
    site.rsctl("cancel", "try")
    assert site.wait() == ["cancelled"] * 3
