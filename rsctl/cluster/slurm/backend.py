"""The SLURM backend: submits tasks as job arrays through submitit and reports their state."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from rsctl.cluster.backend import BackendState, SubmitResult
from rsctl.cluster.slurm.adopt import adopt
from rsctl.cluster.slurm.arrays import check_profile, first_tasks, make_arrays
from rsctl.cluster.slurm.commands import JobRow, QueueView, cancel_jobs, limits, partitions, with_memory
from rsctl.cluster.slurm.failure_reason import explain
from rsctl.cluster.slurm.limits import room_for
from rsctl.cluster.slurm.sbatch import Submitter
from rsctl.cluster.slurm.shared import check_store
from rsctl.cluster.slurm.states import state_of
from rsctl.cluster.slurm.submissions import Submission, only_submitter, submissions
from rsctl.cluster.slurm.watch import WATCH
from rsctl.config.settings import SlurmProfile
from rsctl.errors import InputError, UnavailableError
from rsctl.plan.tasks import Request, Task
from rsctl.store.attempts import State, attempt_numbers, read_attempt
from rsctl.store.layout import Run, Store

_APPEARS_WITHIN = 60.0
"""Seconds after a submission during which a job that isn't in the queue yet is not reported as lost."""


@dataclass(frozen=True)
class SlurmBackend:
    """Runs tasks as elements of job arrays. `profile` is used only for submitting."""

    name: str
    profile: SlurmProfile
    store: Store

    # Submitting

    def submit(self, requests: list[Request]) -> SubmitResult:
        """Submit what isn't in the queue yet, as far as the cluster has room; nothing if SLURM refuses a part.

        Raises
        ------
        InputError
            The cluster can't or won't run it; the message quotes SLURM and names the key to change.
        UnavailableError
            The controller doesn't answer, or takes no more jobs from this user now.
        """
        with only_submitter(self.store):
            WATCH.poll_again()
            view = WATCH.poll(self.profile.poll_seconds)
            if view is None or WATCH.problem:
                raise UnavailableError(
                    f"{WATCH.problem.rstrip('.')}. Nothing was submitted; try again later."
                )
            adopt(self._held(request.task for request in requests), view)
            held = self.poll([request.task for request in requests])
            fresh = [r for r in requests if not (r.task.key in held and held[r.task.key].state.is_open)]
            return self._submit(fresh, view) if fresh else SubmitResult(0)

    def _submit(self, fresh: list[Request], view: QueueView) -> SubmitResult:
        """Check everything that can be checked before the first sbatch, then submit the arrays."""
        cluster = limits()
        arrays = make_arrays(fresh, cluster.longest_array)
        partition = with_memory(check_profile(self.name, self.profile, partitions(), arrays), cluster)
        check_store(self.store.root, partition)
        room = room_for(self.profile, partition, cluster, view)
        if not room.jobs:
            raise UnavailableError(
                f"{room.why}. Nothing was submitted; submit again when some jobs have finished."
            )
        arrays = first_tasks(arrays, room.jobs)
        submitter = Submitter(self.name, self.profile, self.store, cluster.cluster, partition)
        try:
            for array in arrays:
                submitter.submit(array, [self._job_of(need, submitter.jobs) for need in array.needs])
        except BaseException as error:
            if submitter.roll_back():
                raise
            raise UnavailableError(
                f"SLURM became unreachable during a submission; it has confirmed {len(submitter.jobs)} of {len(fresh)} tasks, "
                "which stay in its queue. Submit again when it is reachable to add the rest."
            ) from error
        finally:
            WATCH.poll_again()
        held_back = tuple(r.task for r in fresh if r.task.key not in submitter.jobs)
        return SubmitResult(len(fresh) - len(held_back), held_back, room.why)

    def _job_of(self, key: str, jobs: dict[str, str]) -> str:
        """Return the job of a task that others wait for, from this submission or from an earlier one still in the queue."""
        if key in jobs:
            return jobs[key]
        kind, run_id, number = key.split("/")
        run = self.store.run(kind, run_id)
        seen = self.poll([Task(run, int(number))]).get(key)
        held = submissions(run).get(int(number))
        if seen is None or held is None or not seen.state.is_open:
            if run.kind.is_table:
                raise InputError(
                    f"{run_id} is an earlier level of a cascade and isn't finished, and SLURM isn't running it. "
                    "If it runs under another profile, submit again when it is done; otherwise retry the sweep."
                )
            raise InputError(
                f"the model {run_id} doesn't exist yet, and SLURM isn't training it. "
                "If it is being trained under another profile, submit again when that is done; otherwise retry the sweep."
            )
        return _job(held, int(number), WATCH.view)

    # Polling

    def poll(self, tasks: Iterable[Task]) -> dict[str, BackendState]:
        """Return the state of every task ever submitted to SLURM, from the queue or else from accounting.

        A task whose own file records that this job failed is left out: its files have more detail.
        """
        held = self._held(tasks)
        if not held:
            return {}
        view = WATCH.poll(self.profile.poll_seconds)
        seen: dict[str, BackendState] = {}
        ended = Endings()
        gone: list[tuple[Task, Submission, str]] = []
        for task, submission in held:
            job = _job(submission, task.number, view)
            row = view.rows.get(job) if view else None
            if elsewhere := _elsewhere(submission, task, row):
                # An end recorded in files holds whoever submitted it, and wherever.
                over = task.number in submission.cancelled or ended.of(task, submission) == "failed"
                if one := _vanished(task, submission, ended) if over else elsewhere:
                    seen[task.key] = one
            elif row is None and view is None:
                seen[task.key] = BackendState(State.UNKNOWN, WATCH.problem, since=submission.claimed)
            elif row is None:
                gone.append((task, submission, job))
            elif (one := _of_row(task, submission, row, ended)) is not None:
                seen[task.key] = one
        if gone:
            oldest = min(submission.claimed for _, submission, _ in gone)
            known = WATCH.accounting([job for _, _, job in gone if job], oldest)
            for task, submission, job in gone:
                row = known.get(job)
                one = _of_row(task, submission, row, ended) if row else _vanished(task, submission, ended)
                if one is not None:
                    seen[task.key] = one
        if WATCH.problem and view is not None:
            last = f"{WATCH.problem}; last known: "
            return {k: replace(one, reason=last + (one.reason or one.state.value)) for k, one in seen.items()}
        return seen

    def _held(self, tasks: Iterable[Task]) -> list[tuple[Task, Submission]]:
        records: dict[Path, dict[int, Submission]] = {}
        held = []
        for task in tasks:
            if task.run.path not in records:
                records[task.run.path] = submissions(task.run)
            if task.number in records[task.run.path]:
                held.append((task, records[task.run.path][task.number]))
        return held

    # Cancelling

    def cancel(self, tasks: Iterable[Task]) -> int:
        """Cancel these tasks; each run keeps a note, because SLURM may forget a cancelled task."""
        held = self._held(tasks)
        if not held:
            return 0
        WATCH.poll_again()
        view = WATCH.poll(self.profile.poll_seconds)
        if view is None or WATCH.problem:
            raise UnavailableError(f"{WATCH.problem}. Nothing was cancelled; try again later.")
        notes: dict[tuple[Path, str], tuple[Submission, list[int]]] = {}
        jobs = []
        for task, submission in held:
            job = _job(submission, task.number, view)
            mine = submission.user == os.getuid()
            if mine and job in view.rows and state_of(view.rows[job]).state.is_open:
                jobs.append(job)
                notes.setdefault((task.run.path, submission.id), (submission, []))[1].append(task.number)
        for (path, _), (submission, numbers) in notes.items():
            submission.note_cancelled(Run(path), numbers)
        cancel_jobs(jobs)
        WATCH.poll_again()
        return len(jobs)


def _elsewhere(submission: Submission, task: Task, row: JobRow | None) -> BackendState | None:
    """Return the state of a job that this machine or user can't see; None if they can."""
    if submission.cluster != WATCH.cluster and WATCH.cluster:
        whose = f"on the cluster '{submission.cluster}'; this machine uses '{WATCH.cluster}'"
    elif row is None and submission.user != os.getuid():
        whose = f"by user {submission.user}, whose jobs SLURM doesn't show you"
    else:
        return None
    file = task.run.path / "submissions" / f"{submission.id}.json"
    return BackendState(
        State.UNKNOWN, f"was submitted {whose}. To take it over, remove {file}", since=submission.claimed
    )


def _job(submission: Submission, task: int, view: QueueView | None) -> str:
    """Return the job of a task; one whose number was never recorded is found by its comment."""
    if submission.job or view is None:
        return submission.job_of(task) if submission.job else ""
    found = view.comments.get(submission.comment, [])
    wanted = f"_{submission.tasks[task]}" if submission.array else ""
    return next((job for job in found if job.endswith(wanted)), "")


class Endings:
    """Looks up how the attempts of tasks ended, with one listing per run."""

    def __init__(self) -> None:
        self.numbers: dict[Path, dict[int, list[int]]] = {}

    def of(self, task: Task, submission: Submission) -> str | None:
        """Return how this submission's last attempt ended, empty while it runs; None if it made no attempt."""
        if task.run.path not in self.numbers:
            self.numbers[task.run.path] = attempt_numbers(task.run)
        numbers = self.numbers[task.run.path].get(task.number)
        attempt = read_attempt(task.run, task.number, numbers[-1]) if numbers else None
        mine = attempt is not None and attempt.claim.get("submission") == submission.id
        return attempt.ended if attempt and mine else None


def _of_row(task: Task, submission: Submission, row: JobRow, ended: Endings) -> BackendState | None:
    """Convert a row to a task's state; None if the task's own file records how this job ended."""
    seen = replace(state_of(row), since=submission.claimed)
    cancelled = task.number in submission.cancelled
    if seen.state.is_open:
        return replace(seen, state=State.RUNNING, reason="is being cancelled") if cancelled else seen
    end = ended.of(task, submission)
    if end == "failed":
        return None
    if cancelled:
        return replace(seen, state=State.CANCELLED, reason="cancelled by you")
    if seen.state == State.FAILED and submission.job:
        return explain(seen, task.run, submission.log_of(task.number), began=end is not None)
    return seen


def _vanished(task: Task, submission: Submission, ended: Endings) -> BackendState | None:
    """Return the state of a task that is in neither the queue nor accounting."""
    end, since = ended.of(task, submission), submission.claimed
    if task.number in submission.cancelled:
        return BackendState(State.CANCELLED, "cancelled by you", since=since)
    if end == "failed":
        return None
    if time.time() - since < _APPEARS_WITHIN:
        return BackendState(State.QUEUED, "was submitted just now", since=since)
    if not submission.job:
        return BackendState(State.LOST, "its submission was interrupted; submit again", since=since)
    when = "before it started" if end is None else "while it ran"
    return BackendState(
        State.LOST, f"left SLURM's queue {when}, with no recorded reason; submit again", since=since
    )
