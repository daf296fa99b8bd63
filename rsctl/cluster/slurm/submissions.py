"""Records of the SLURM job that holds each task, written under the run before the job exists.

`<run>/submissions/<id>.json` is written by the submitter: once before sbatch, once with the job's number. The
id is also the job's comment, so that a crash in between leaves a job that can be found.
`<id>.cancelled-<n>.json` is written on cancellation. `<store>/submissions/<id>/tasks.json` lists the tasks of a whole
submission, to find those whose runs no sweep refers to any more.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

from rsctl.owners import is_mine, user_name
from rsctl.plan.tasks import Task
from rsctl.store.exclusion import exclusive
from rsctl.store.files import names_in, publish, replace, to_json
from rsctl.store.layout import Run, Store, is_key
from rsctl.store.records import read_or_skip
from rsctl.store.run_kinds import RunKind
from rsctl.store.task_fields import CANCELLED, LISTED, SUBMISSION

_PREFIX = "rsctl:"
_LIST = "tasks.json"
_LONGEST_IN_QUEUE = 60 * 86400.0
"""Seconds."""
_STORED = ("profile", "cluster", "claimed", "job", "array", "folder")
"""Fields that a record has as they are."""


@dataclass(frozen=True)
class Submission:
    """The part of one job (usually an array) that concerns one run."""

    id: str
    profile: str
    cluster: str
    """Name of the SLURM cluster: job numbers mean nothing without it."""
    user: int
    claimed: float
    """Unix time before sbatch."""
    folder: str
    """Folder of its script, its pickles and SLURM's log files."""
    tasks: dict[int, int]
    """Task → array index."""
    array: bool
    job: str = ""
    """The job's number; empty while sbatch hasn't answered."""
    cancelled: frozenset[int] = frozenset()
    """Tasks that were cancelled by rsctl."""

    @property
    def comment(self) -> str:
        return _PREFIX + self.id

    def job_of(self, task: int) -> str:
        """Return `<job>_<index>`, or `<job>` if it isn't an array."""
        return f"{self.job}_{self.tasks[task]}" if self.array else self.job

    def log_of(self, task: int) -> Path:
        """Return the log of SLURM, the setup lines and submitit, over all requeues."""
        return Path(self.folder) / f"{self.job_of(task)}_0_log.out"

    def write(self, run: Run) -> None:
        fields = {name: getattr(self, name) for name in _STORED}
        tasks = {str(task): index for task, index in self.tasks.items()}
        values = {"submission": self.id, "backend": "slurm", "user": self.user, "tasks": tasks, **fields}
        replace(_folder(run) / f"{self.id}.json", to_json(values))

    def remove(self, run: Run) -> None:
        """Remove a claim whose job SLURM refused."""
        (_folder(run) / f"{self.id}.json").unlink(missing_ok=True)

    def note_cancelled(self, run: Run, tasks: list[int]) -> None:
        name = f"{self.id}.cancelled-{secrets.token_hex(4)}.json"
        publish(_folder(run) / name, to_json({"tasks": tasks, "time": time.time()}))


def submissions(run: Run) -> dict[int, Submission]:
    """Map task → its newest submission."""
    names = names_in(_folder(run))
    found = [
        _read(run, name, [note for note in names if note.startswith(f"{name[:-5]}.cancelled-")])
        for name in names
        if name.endswith(".json") and ".cancelled-" not in name and not name.startswith(".")
    ]
    newest = sorted(filter(None, found), key=lambda s: (s.claimed, s.id))
    return {task: submission for submission in newest for task in submission.tasks}


def submitters(tasks: Iterable[Task]) -> dict[str, str]:
    """Return the names of the other users who last submitted these tasks to SLURM, by key: only they can cancel them."""
    found: dict[str, str] = {}
    newest: dict[Run, dict[int, Submission]] = {}
    for task in tasks:
        if task.run not in newest:
            newest[task.run] = submissions(task.run)
        submission = newest[task.run].get(task.number)
        if submission and submission.user != os.getuid():
            found[task.key] = user_name(submission.user)
    return found


def list_tasks(folder: Path, keys: list[str]) -> None:
    """List a submission's tasks in its folder."""
    publish(folder / _LIST, to_json({"tasks": keys}))


def submitted_keys(store: Store) -> set[str]:
    """Return the keys of all tasks ever submitted to SLURM from this store."""
    root = store.root / "submissions"
    found: set[str] = set()
    unlisted = []
    for folder in filter(Path.is_dir, (root / name for name in names_in(root))):
        listed = _listed(str(folder))
        found.update(listed or ())
        # Of an older rsctl: its records in the runs have the same content. Nothing stays in a queue for that long.
        if listed is None and time.time() - folder.stat().st_mtime < _LONGEST_IN_QUEUE:
            unlisted.append(folder.name)
    return found | (_recorded(store, frozenset(unlisted)) if unlisted else frozenset())


@cache
def _listed(folder: str) -> frozenset[str] | None:
    """Return the list in the folder of a submission, which never changes; None if it is missing or unreadable."""
    listed = read_or_skip(Path(folder) / _LIST, LISTED)
    return None if listed is None else frozenset(filter(is_key, map(str, listed["tasks"])))


@lru_cache(maxsize=1)
def _recorded(store: Store, _unlisted: frozenset[str]) -> frozenset[str]:
    """Return the keys in the records of all runs written before submissions had such a list."""
    return frozenset(
        f"{run.key}/{task}" for kind in RunKind for run in store.runs(kind) for task in submissions(run)
    )


def _read(run: Run, name: str, notes: list[str]) -> Submission | None:
    file = _folder(run) / name
    values = read_or_skip(file, SUBMISSION)
    if values is None:
        return None
    read = [read_or_skip(_folder(run) / note, CANCELLED) for note in notes]
    return Submission(
        id=values["submission"],
        user=values["user"] if is_mine(file) else file.lstat().st_uid,
        tasks={int(task): index for task, index in values["tasks"].items()},
        **{name: values[name] for name in _STORED},
        cancelled=frozenset(task for note in read if note for task in note["tasks"]),
    )


def _folder(run: Run) -> Path:
    return run.path / "submissions"


@contextlib.contextmanager
def only_submitter(store: Store) -> Iterator[None]:
    """Hold the submission lock: submissions to a store run one after another, so that no task is submitted twice."""
    with exclusive(store.root / "submissions" / "lock", wait=True):
        yield
