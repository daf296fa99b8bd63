"""submitit's executor for sites with a wrapped sbatch: the job's number is looked up by rsctl's comment."""

from __future__ import annotations

import os
import re
import time
import uuid
from pathlib import Path
from typing import Any

from submitit import SlurmExecutor, SlurmJob
from submitit.core.core import Job
from submitit.core.utils import DelayedSubmission, JobPaths

from rsctl.cluster.slurm.commands import run_command
from rsctl.errors import UnavailableError

_PAUSES = (0.0, 0.2, 1.0, 3.0, 6.0)
"""Seconds before each query for a job that sbatch has just accepted."""
_PLAIN = re.compile(r"Submitted batch job (\d+)")
"""sbatch's own output, and nothing else."""
_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


class Executor(SlurmExecutor):
    """One submission: the tasks become one array, or one job if there is only one."""

    def _internal_process_submissions(self, delayed_submissions: list[DelayedSubmission]) -> list[Job[Any]]:
        """Submit as submitit does, but with this class for arrays too: submitit creates an executor of its own there."""
        folder = JobPaths.get_first_id_independent_folder(self.folder)
        pickles = []
        for delayed in delayed_submissions:
            delayed.set_timeout(self.parameters.get("time", 5), self.max_num_timeout)
            pickles.append(folder / f"{uuid.uuid4().hex}.pkl")
            delayed.dump(pickles[-1])
        if len(pickles) > 1:
            self.parameters["map_count"] = len(pickles)
        self._throttle()
        first = self._submit_command(self._submitit_command_str)
        numbers = (
            [f"{first.job_id}_{index}" for index in range(len(pickles))]
            if len(pickles) > 1
            else [first.job_id]
        )
        tasks = list(range(first.num_tasks))
        jobs: list[Job[Any]] = [
            SlurmJob(folder=self.folder, job_id=number, tasks=tasks) for number in numbers
        ]
        for job, pickle in zip(jobs, pickles, strict=True):
            job.paths.move_temporary_file(pickle, "submitted_pickle")
        return jobs

    def _get_job_id_from_submission_command(self, string: bytes | str) -> str:  # type: ignore[override]
        response = string if isinstance(string, str) else string.decode(errors="replace")
        return job_of(Path(self.folder).name, response)


def job_of(submission: str, response: str) -> str:
    """Return the job number of a submission; `response` is sbatch's output.

    A site's wrapper may print anything, including numbers of other jobs. Our job has the submission in its comment and its
    working directory, so that it is found even where a site rewrites comments.

    Raises
    ------
    UnavailableError
        SLURM doesn't answer, or has no such job.
    """
    text = " ".join(_COLOURS.sub("", response).split())
    numbers = re.findall(r"(?<![\w.])\d+(?![\w.])", text)
    queue = ("squeue", "--noheader", "--states=all", "--format=%F|%k|%Z")
    for pause in _PAUSES:
        time.sleep(pause)
        # Query one job by its number, which costs the controller less than a user's whole queue.
        if len(numbers) == 1 and (job := _ours(submission, _shown(*queue, f"--jobs={numbers[0]}"))):
            return job
        try:
            output = run_command(*queue, f"--user={os.getuid()}")
        except UnavailableError:
            if plain := _PLAIN.fullmatch(text):
                return plain[1]  # the controller became unreachable right after accepting it
            raise
        if job := _ours(submission, output):
            return job
    jobs = f"--jobs={','.join(numbers)}"
    over = (
        _shown("sacct", "--allocations", "--noheader", "--parsable2", "--format=JobID,WorkDir", jobs)
        if numbers
        else ""
    )
    if job := _ours(submission, over):
        return job
    raise UnavailableError(
        f"sbatch printed '{text[:300]}', but SLURM has no job of this submission in its queue. Nothing was submitted. Ask your site's administrators what its sbatch does."
    )


def _shown(*command: str) -> str:
    """Return the output of a command; empty if the job is unknown or the command is missing."""
    try:
        return run_command(*command)
    except UnavailableError:
        return ""


def _ours(submission: str, output: str) -> str:
    """Return the number at the start of the first line that contains the submission, or empty."""
    lines = (line for line in output.splitlines() if submission in line)
    return next((match[0] for line in lines if (match := re.match(r"\d+", line))), "")
