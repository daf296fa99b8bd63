"""Recovers jobs that SLURM accepted from a submitter that died before it recorded their number."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from rsctl.cluster.slurm.commands import QueueView
from rsctl.cluster.slurm.submissions import Submission, submissions
from rsctl.owners import is_mine
from rsctl.plan.tasks import Task
from rsctl.store.layout import Run

_NAMED = ("_submitted", "_result")


def adopt(held: Iterable[tuple[Task, Submission]], view: QueueView) -> None:
    """Complete records that have no job number though their jobs are in the queue.

    Call it while holding the submission lock. submitit gives each task's pickle its final name only once sbatch has
    answered, and a job whose pickle has none waits for it for a minute and fails.
    """
    orphans = {
        submission.id: (submission, view.comments[submission.comment][0].partition("_")[0])
        for _, submission in held
        if not submission.job and submission.user == os.getuid() and submission.comment in view.comments
    }
    for submission, job in orphans.values():
        _name_pickles(submission, job)
    for task, submission in held:
        if submission.id in orphans:
            replace(submission, job=orphans[submission.id][1]).write(task.run)


def _name_pickles(submission: Submission, job: str) -> None:
    from submitit.core.utils import DelayedSubmission

    folder = Path(submission.folder)
    for file in folder.glob("*.pkl"):
        if not file.stem.endswith(_NAMED) and is_mine(file):
            task: Any = DelayedSubmission.load(file).function
            record = submissions(Run(Path(task.run))).get(task.number)
            if record is not None and record.id == submission.id:
                os.rename(file, folder / f"{replace(record, job=job).job_of(task.number)}_submitted.pkl")
