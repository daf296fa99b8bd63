"""Sites put a script of their own in the place of sbatch: whatever it prints, the job that is recorded is ours."""

from __future__ import annotations

import os
import shutil
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rsctl.cluster.slurm.executor import Executor
from rsctl.cluster.slurm.submissions import submissions
from rsctl.errors import UnavailableError

if TYPE_CHECKING:
    from sites import Site

ANSWERS = {
    "as it is": "echo Submitted batch job $job",
    "a bare number": "echo $job",
    "--parsable on a cluster": "echo '$job;'plain",
    "coloured": r"printf '\033[1;32mSubmitted batch job \033[0m%s\033[K\n' $job",
    "another job first": "echo 'Your quota: job 17 used 3 h in 2026.'; echo Submitted batch job $job",
    "another job last": "echo Submitted batch job $job; echo 'replaces job 1 of 2026-11-30 (see www.x.org/docs/2024)'",
    "no word of it": "echo 'Good luck!'",
    "another job alone": "echo Submitted batch job 17",
    "JSON": 'echo \'{"job_id":\' $job, \'"errors": [], "meta": {"slurm": "22.05.8"}}\'',
}


def put_in_place(folder: Path, monkeypatch: pytest.MonkeyPatch, answer: str, change: str = "") -> None:
    """An sbatch that submits for real, then answers in its own words; `change` is done to the script before."""
    wrapper = folder / "bin" / "sbatch"
    wrapper.parent.mkdir(exist_ok=True)
    wrapper.write_text(
        "#!/bin/bash\n"
        + change
        + f'\nsaid=$({shutil.which("sbatch")} "$@") || exit\njob=${{said##* }}\n'
        + answer
        + "\n"
    )
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{wrapper.parent}:{os.environ['PATH']}")


def submit(site: Site, folder: Path, tasks: int) -> list[str]:
    name = uuid.uuid4().hex
    (folder / name).mkdir()
    executor = Executor(folder / name)
    executor.update_parameters(
        job_name="rsctl:train:wrapped",
        comment=f"rsctl:{name}",
        additional_parameters={"chdir": str(folder / name), "hold": True},
    )
    jobs = executor.submit_array([print] * tasks) if tasks > 1 else [executor.submit(print)]
    right = [
        line.split()[0]
        for line in site.cluster.query("squeue", "-r", "-h", "-o", "%i %k").splitlines()
        if name in line
    ]
    assert sorted(job.job_id for job in jobs) == sorted(right)
    assert all(job.paths.submitted_pickle.exists() for job in jobs)
    return right


def test_the_number_is_that_of_our_job_whatever_sbatch_prints(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, answer in enumerate(ANSWERS.values()):
        with monkeypatch.context() as patch:
            put_in_place(tmp_path, patch, answer)
            assert len(submit(site, tmp_path, tasks=1 + number % 2)) == 1 + number % 2


@pytest.mark.long
def test_a_site_that_rewrites_comments_is_known_by_the_working_directory(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_in_place(tmp_path, monkeypatch, "echo '17 is another job'", 'sed -i "/--comment=/d" "${@: -1}"')
    site.sweep(certification={"shards": 1})
    site.submit()
    assert site.wait() == ["done"] * 2, site.explain()


def test_a_wrapper_that_names_another_job_first_loses_nothing(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_in_place(tmp_path, monkeypatch, ANSWERS["another job first"])
    site.sweep()
    site.submit()
    # Only ours are recorded, and what waits for a model waits for ours.
    recorded = {
        job.job_of(task) for run in site.store.runs("counts") for task, job in submissions(run).items()
    }
    assert recorded <= set(site.cluster.queue_of(site.folder / "runs"))
    assert site.wait() == ["done"] * 3, site.explain()


def test_a_wrapper_that_submits_nothing_is_a_sentence(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rsctl.cluster.slurm.executor._PAUSES", (0.0, 0.1))
    put_in_place(tmp_path, monkeypatch, "", "echo 'Your project has no hours left in 2026.'; exit 0")
    folder = tmp_path / uuid.uuid4().hex
    folder.mkdir()
    executor = Executor(folder)
    with pytest.raises(
        UnavailableError, match=r"'Your project has no hours left in 2026\.', but SLURM has no job"
    ):
        executor.submit(print)
    assert not site.waiting_jobs()
