"""A submitter that dies between, before or after any of its sbatch calls: nothing is lost, nothing runs twice."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cluster import FAKE_JOBS
from sites import COMMAND, attempts

if TYPE_CHECKING:
    from sites import Site


def killing_sbatch(folder: Path, call: int, accepted: bool) -> Path:
    """An sbatch whose n-th call kills who called it, before SLURM was asked or after it took the job."""
    real = shutil.which("sbatch")
    program = folder / "sbatch"
    folder.mkdir()
    program.write_text(
        f"""#!/bin/sh
echo . >> {folder}/calls
if [ $(wc -l < {folder}/calls) = {call} ]; then
  {f'{real} "$@"' if accepted else "true"}
  kill -KILL $PPID
  exit 1
fi
exec {real} "$@"
"""
    )
    program.chmod(0o755)
    return folder


@pytest.mark.parametrize(
    ("call", "accepted"),
    [
        pytest.param(1, False, id="before the first", marks=pytest.mark.long),
        pytest.param(1, True, id="after the first"),
        pytest.param(2, False, id="before the second"),
        pytest.param(2, True, id="after the second", marks=pytest.mark.long),
        pytest.param(3, False, id="before the last", marks=pytest.mark.long),
        pytest.param(3, True, id="after the last", marks=pytest.mark.long),
    ],
)
def test_killed_around_a_call_of_sbatch(site: Site, tmp_path: Path, call: int, accepted: bool) -> None:
    site.sweep([0.25, 0.5], certification={"shards": 2})
    site.behave(wait=True)
    path = killing_sbatch(tmp_path / "bin", call, accepted)
    environment = {**os.environ, "PATH": f"{path}:{os.environ['PATH']}"}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(FAKE_JOBS), os.environ.get("PYTHONPATH"))))
    killed = subprocess.run(
        [COMMAND, "submit", "try.toml", "--cluster", "slurm"], cwd=site.folder, env=environment, capture_output=True,
    )  # fmt: skip
    assert killed.returncode == -9
    # The arrays: two trainings, then the certifications of each model.
    sizes = [2, 2, 2]
    taken = sum(sizes[: call if accepted else call - 1])
    site.wait(lambda _: len(site.cluster.queue_of(site.store.root)) == taken)
    # A claim without a job is waited for, since its sbatch may outlive who called it.
    site.a_minute_passes()
    states = site.states()
    lost = 0 if accepted else sizes[call - 1]
    assert states.count("lost") == lost
    assert states.count("new") == sum(sizes) - taken - lost
    assert f"{sum(sizes) - taken} submitted" in site.submit()
    assert len(site.cluster.queue_of(site.store.root)) == sum(sizes)
    site.behave()
    assert site.wait() == ["done"] * 6
    tables = {run: run.task_numbers() for kind in ("models", "counts") for run in site.store.runs(kind)}
    assert all(attempts(run, task) == ["done"] for run, tasks in tables.items() for task in tasks)
