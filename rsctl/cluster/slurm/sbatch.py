"""Submits arrays to SLURM through submitit: claim, sbatch, record; a submission succeeds or fails as a whole."""

from __future__ import annotations

import contextlib
import io
import os
import shlex
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rsctl.cluster.slurm.arrays import Array, explain_refusal, sbatch_parameters
from rsctl.cluster.slurm.commands import Partition, cancel_jobs, read_queue
from rsctl.cluster.slurm.script import (
    NOT_YET_LISTENING,
    RUN,
    SETUP_FAILED,
    batch_log,
    escaped,
    prepared,
    step_log,
)
from rsctl.cluster.slurm.submissions import Submission, list_tasks
from rsctl.cluster.slurm.task import SlurmTask
from rsctl.config.settings import SlurmProfile
from rsctl.errors import InputError, UnavailableError, UserError
from rsctl.owners import readable_by_group
from rsctl.store.files import make_folder
from rsctl.store.layout import Run, Store
from rsctl.store.provenance import ONLY_VERIFIED, verify_code
from rsctl.store.trust import MODE

_REQUEUES = 1_000_000
"""Effectively disables submitit's own count of time-outs: `SlurmTask` stops tasks without progress."""
_KEPT_DEFAULTS = {
    "SBATCH_PARTITION": "partition",
    "SBATCH_ACCOUNT": "account",
    "SBATCH_QOS": "qos",
    "SBATCH_CONSTRAINT": "constraint",
    "SBATCH_TIMELIMIT": "time",
}
"""A user's own defaults, which override the script's lines: kept only where the profile sets nothing."""
_DROPPED = (
    *("SLURM_", "SLURMD_", "SRUN_", "SBATCH_", "SUBMITIT_"),
    *("RSCTL_ATTEMPT", "RSCTL_SUBMISSION", NOT_YET_LISTENING, SETUP_FAILED),
)
OWN_FOLDER = (
    'for own in {folder} {folder}/*.pkl; do [ ! -e "$own" ] || [ -O "$own" ] || '
    '{{ echo "error: $own belongs to another user" >&2; exit 1; }}; done'
)
"""A line of the batch script: Python unpickles files of this folder, and a user with write access to the parent could swap them."""
_DISTRIBUTED = ("MASTER_ADDR", "MASTER_PORT", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")


@dataclass
class Submitter:
    """A submission: several sbatch calls that succeed or fail together."""

    name: str
    """The profile's name."""
    profile: SlurmProfile
    store: Store
    cluster: str
    partition: Partition
    jobs: dict[str, str] = field(default_factory=dict)
    """Task key → its job."""
    records: dict[str, list[tuple[Run, Submission]]] = field(default_factory=dict)
    """Submission → its record in every run that it concerns."""

    def submit(self, array: Array, after: list[str]) -> None:
        """Submit one array; `after` are the jobs that have to succeed first.

        Raises
        ------
        InputError
            SLURM refuses it.
        UnavailableError
            The controller doesn't answer.
        """
        from submitit.core.utils import FailedJobError

        from rsctl.cluster.slurm.executor import Executor

        number = uuid.uuid4().hex
        folder = self.store.root / "submissions" / number
        claims, many = self._claim(number, folder, array), len(array.requests) > 1
        plugins = array.requests[0].task.run.launch().get("plugins", ())
        group = self.profile.of_group
        code = shlex.quote(str(verify_code(self.store.root, array.code, plugins, group=group)))
        environment = {**ONLY_VERIFIED, MODE: self.profile.store_mode}
        setup = [
            *prepared(str(folder), self.profile.attempts, self.profile.setup),
            OWN_FOLDER.format(folder=shlex.quote(str(folder))),
            # The working directory comes first on the path of `python -m`: only root may write there. Logs with a backslash in
            # their path are named without it (`step_log`).
            *([] if "\\" in str(folder) else ["cd /"]),
            *(f"export {name}={value}" for name, value in environment.items()),
            f'export PYTHONPATH={code}"${{PYTHONPATH:+:$PYTHONPATH}}"',
        ]
        parameters = sbatch_parameters(array, self.profile, self.partition, setup)
        parameters["comment"] = claims[0][1].comment
        further: dict[str, Any] = {
            # A site's wrapper may change the comment; the job is known by this folder, too.
            "chdir": str(folder),
            "requeue": True,
            "output": batch_log(str(folder), many),
            # To the script, which forwards it: a step may not have started, or not handle signals yet.
            "signal": f"B:USR2@{parameters.pop('signal_delay_s')}",
        }
        further |= {key: value for key, value in self.profile.extra.items() if value is not False}
        if after:
            parameters["dependency"] = f"afterok:{':'.join(after)}"
            further["kill-on-invalid-dep"] = "yes"
        make_folder(folder, 0o755)
        list_tasks(folder, [request.task.key for request in array.requests])
        srun = shlex.join(
            ["srun", "--unbuffered", f"--output={step_log(str(folder), many)}", *parameters.pop("srun_args")]
        )
        python = f"{RUN} {srun} {self.profile.python or shlex.quote(sys.executable)}"
        executor = Executor(folder, max_num_timeout=_REQUEUES, python=python)
        options = {name: escaped(value) for name, value in parameters.items()}
        further = {name: escaped(value) for name, value in further.items()}
        executor.update_parameters(**options, use_srun=False, additional_parameters=further)
        limits = (self.profile.attempts, self.profile.staging or "", self.profile.snapshot_seconds)
        tasks = [SlurmTask(str(r.task.run.path), r.task.number, number, *limits) for r in array.requests]
        given = array.resources.memory_gb or self.profile.memory_gb
        with _submission_environment(parameters), readable_by_group(group):
            try:
                submitted = _submit(executor, tasks)
            except FailedJobError as error:
                if given or not parameters["mem"] or "memory" not in str(error).lower():
                    raise _refusal(str(error), self.name) from error
                # Requested by rsctl, not by the user.
                executor.parameters.pop("mem")
                try:
                    submitted = _submit(executor, tasks)
                except FailedJobError as second:
                    raise _refusal(str(second), self.name) from second
        job = submitted[0].job_id.partition("_")[0]
        self.records[number] = [(run, replace(claim, job=job)) for run, claim in claims]
        for run, record in self.records[number]:
            record.write(run)
        for request, entry in zip(array.requests, submitted, strict=True):
            self.jobs[request.task.key] = entry.job_id

    def _claim(self, number: str, folder: Path, array: Array) -> list[tuple[Run, Submission]]:
        """Record in every run which of its tasks are about to be submitted."""
        tasks: dict[Path, dict[int, int]] = {}
        for index, request in enumerate(array.requests):
            tasks.setdefault(request.task.run.path, {})[request.task.number] = index
        common = (number, self.name, self.cluster, os.getuid(), time.time(), str(folder))
        many = len(array.requests) > 1
        self.records[number] = [(Run(run), Submission(*common, tasks[run], many)) for run in tasks]
        for run, claim in self.records[number]:
            claim.write(run)
        return self.records[number]

    def roll_back(self) -> bool:
        """Cancel the submitted jobs, including any whose number was never returned, and remove the claims.

        Returns False if SLURM can't be reached: then the claims are kept, so that its jobs are found.
        """
        try:
            comments = read_queue().comments
            jobs = [
                job for records in self.records.values() for job in comments.get(records[0][1].comment, [])
            ]
            cancel_jobs(jobs)
        except UserError:
            return False
        for records in self.records.values():
            for run, record in records:
                record.remove(run)
        return True


def _submit(executor: Any, tasks: list[SlurmTask]) -> list[Any]:
    # submitit also prints what it raises; it is reported once, with the key that it concerns.
    with contextlib.redirect_stderr(io.StringIO()):
        return executor.submit_array(tasks) if len(tasks) > 1 else [executor.submit(tasks[0])]


def _refusal(message: str, profile: str) -> UserError:
    if "contact slurm controller" in message.lower():
        return UnavailableError("SLURM's controller doesn't answer. Nothing was submitted; try again later.")
    return InputError(explain_refusal(message, profile))


@contextlib.contextmanager
def _submission_environment(parameters: dict[str, Any]) -> Iterator[None]:
    """Hide variables that would override the script: those of an enclosing job, and sbatch's own."""
    keep = {"SLURM_CONF"} | {name for name, key in _KEPT_DEFAULTS.items() if not parameters.get(key)}
    hidden = {
        name: value
        for name, value in os.environ.items()
        if (name.startswith(_DROPPED) or name in _DISTRIBUTED) and name not in keep
    }
    for name in hidden:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(hidden)
