"""The callable run inside a SLURM job: one task, its signals and its requeue."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rsctl.cluster.slurm.processes import join
from rsctl.cluster.slurm.script import NOT_YET_LISTENING, SETUP_FAILED, SETUP_MESSAGE
from rsctl.cluster.slurm.staging import stage
from rsctl.cluster.task import AttemptEnd, Stop, perform, scheduled, take_claim
from rsctl.errors import UserError
from rsctl.owners import share_with_group
from rsctl.store.attempts import Attempt, attempt_numbers, read_attempt
from rsctl.store.files import open_log
from rsctl.store.layout import Run
from rsctl.store.trust import group_of_environment

_REQUEUED_BY_US = ("RUNNING", "TIMEOUT", "CONFIGURING")
"""States in which a stopped job requeues itself. A cancelled or pre-empted one must not."""


@dataclass(frozen=True)
class SlurmTask:
    """The only callable submitted through submitit. It is pickled by name: the job loads it from its snapshot of code."""

    run: str
    number: int
    submission: str
    attempts: int
    staging: str
    snapshot_seconds: float

    def __call__(self) -> None:
        """Run the task; exits with code 0 if it is done or requeued, else 1.

        It raises SystemExit, so that submitit writes no result: the store has it.
        """
        stop = Stop()
        run = Run(Path(self.run))
        share_with_group(group_of_environment())
        os.environ["RSCTL_SUBMISSION"] = self.submission
        first, setup = os.environ.get("SLURM_PROCID", "0") == "0", os.environ.get(SETUP_FAILED)
        if first:
            if starts := os.environ.get(NOT_YET_LISTENING):
                Path(starts).unlink(missing_ok=True)
            _write_to(run.log_file(self.number))
            if setup:
                print(f"{SETUP_MESSAGE}{setup}; the task continues", flush=True)
        try:
            here: dict[str, Any] = {"snapshot_seconds": self.snapshot_seconds}
            if self.staging:
                here["data"] = str(self._staged(run))
            if int(os.environ.get("SLURM_NTASKS", "1")) > 1:
                os.environ.update(join(run, self.number))
            outcome = perform(run, self.number, stop, **here)
            if outcome.state == "failed" and setup and first:
                outcome.claim.end("failed", f"{outcome.reason} (setup failed before it: {setup})")
        except UserError as error:
            print(error, file=sys.stderr, flush=True)
            sys.exit(1)
        if outcome.state == "stopped" and first:
            sys.exit(0 if self._requeue(run, outcome) else 1)
        stop.over()
        sys.exit(1 if outcome.state == "failed" else 0)

    def _staged(self, run: Run) -> Path:
        try:
            return stage(run, self.staging)
        except UserError as error:
            take_claim(run, self.number, run.launch()).end("failed", str(error))
            raise

    def checkpoint(self) -> Any:
        """Handle a signal that arrives before the task handles signals: submitit requeues it unchanged, because all state is on disk."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)

    def _requeue(self, run: Run, outcome: AttemptEnd) -> bool:
        """Requeue this job after a signal, unless it was cancelled or makes no progress."""
        if outcome.claim.superseded():
            return False
        job, state = scheduled()["job"], _own_state()
        if state not in _REQUEUED_BY_US:
            print(f"not requeued: SLURM reports {state or 'no state'} for {job}", flush=True)
            return False
        mine = [
            attempt
            for number in attempt_numbers(run).get(self.number, [])
            if (attempt := read_attempt(run, self.number, number)).claim.get("submission") == self.submission
        ]
        if (stuck := attempts_without_progress(mine)) >= self.attempts:
            reason = (
                f"stopped by the scheduler ({outcome.reason}) {stuck} times without progress. "
                "Give it more time: retry with --minutes, or raise minutes under resources or in the profile."
            )
            print(reason, flush=True)
            outcome.claim.end("failed", reason)
            return False
        done = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True, timeout=60)
        message = " ".join((done.stderr or done.stdout).split())
        print(f"requeued as {job}" if done.returncode == 0 else f"not requeued: {message}", flush=True)
        return done.returncode == 0


def attempts_without_progress(attempts: list[Attempt]) -> int:
    """Count the last attempts that made no more progress than those before them."""
    stuck, furthest = 0, 0.0
    for attempt in attempts:
        done = float(attempt.progress.get("done", 0))
        stuck = 0 if done > furthest else stuck + 1
        furthest = max(furthest, done)
    return stuck


def _write_to(log: Path) -> None:
    """Redirect output to the task's own log, one for all attempts and backends."""
    with open_log(log) as file:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
            os.dup2(file.fileno(), stream.fileno())


def _own_state() -> str:
    """Return SLURM's current state of this job; empty if SLURM can't be reached."""
    output = subprocess.run(
        ["scontrol", "show", "job", "--oneliner", os.environ["SLURM_JOB_ID"]],
        capture_output=True, text=True, timeout=60,
    ).stdout  # fmt: skip
    return next((word.partition("=")[2] for word in output.split() if word.startswith("JobState=")), "")
