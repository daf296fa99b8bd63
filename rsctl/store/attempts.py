"""One file per attempt at a task: who claimed it, how far it is, how it ended."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import time
from collections import defaultdict
from dataclasses import dataclass
from enum import Enum
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from rsctl.store.files import append, as_line, publish
from rsctl.store.layout import Run
from rsctl.store.records import UnreadableRecord, read_records
from rsctl.store.task_fields import ATTEMPT

_NAME = re.compile(r"(\d{4,})\.(\d+)\.jsonl")
_TAIL = 4096
_HEAD = 16384
_REASON = 600


class State(str, Enum):
    """State of a task, in the order of summaries; the same list for all backends, with an honest `unknown`."""

    RUNNING = "running"
    QUEUED = "queued"
    WAITING = "waiting"
    """Its model isn't trained yet."""
    DONE = "done"
    FAILED = "failed"
    LOST = "lost"
    """It died with no recorded error; submit again to continue it."""
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"
    NEW = "new"
    """Created, never submitted to a backend."""

    @property
    def is_open(self) -> bool:
        """True if a backend has the task, or may have it."""
        return self in (State.WAITING, State.QUEUED, State.RUNNING, State.UNKNOWN)


@dataclass(frozen=True)
class Attempt:
    """The newest attempt at a task, from its file; "running" here is only a claim."""

    number: int
    file: Path
    progress: dict[str, Any]
    end: dict[str, Any]
    problem: str = ""
    """Why its file can't be read."""

    @cached_property
    def claim(self) -> dict[str, Any]:
        """Its author, read from the head of the file on first use: most tasks are done and never need it."""
        with contextlib.suppress(UnreadableRecord):
            return next(
                (r for r in read_records(self.file, ATTEMPT, first=_HEAD) if r["record"] == "claim"), {}
            )
        return {}

    @property
    def host(self) -> str:
        return str(self.end.get("host") or self.claim.get("host", ""))

    @property
    def ended(self) -> str:
        """`done`, `failed`, `stopped`, or empty."""
        return str(self.end.get("state", ""))

    @property
    def reason(self) -> str:
        return str(self.end.get("reason", ""))

    @property
    def alive(self) -> bool | None:
        """True where its process is at work; None if that can't be seen from here (`is_alive`)."""
        return False if self.ended else is_alive(self.claim)

    @property
    def unseen(self) -> str:
        """Message for a process that can't be seen from here."""
        return f"claimed on {self.claim.get('host')}; its processes can't be seen from here"


def attempt_file(run: Run, task: int, attempt: int) -> Path:
    return run.tasks_folder / f"{task:04d}.{attempt}.jsonl"


def attempt_numbers(run: Run) -> dict[int, list[int]]:
    """Task → its attempts so far, ascending."""
    found: dict[int, list[int]] = defaultdict(list)
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        for name in os.listdir(run.tasks_folder):
            match = _NAME.fullmatch(name)
            if match:
                found[int(match[1])].append(int(match[2]))
    return {task: sorted(numbers) for task, numbers in found.items()}


def read_attempt(run: Run, task: int, number: int) -> Attempt:
    """Last progress and end of one attempt, from the tail of its file."""
    file = attempt_file(run, task, number)
    progress: dict[str, Any] = {}
    end: dict[str, Any] = {}
    try:
        for record in read_records(file, ATTEMPT, last=_TAIL, newest_first=True):
            if record["record"] == "end" and not end:
                end = record
            elif record["record"] == "progress":
                progress = record
                break
    except UnreadableRecord as problem:
        return Attempt(number, file, {}, {}, str(problem))
    return Attempt(number, file, progress, end)


def latest_attempt(run: Run, task: int) -> Attempt | None:
    numbers = attempt_numbers(run).get(task)
    return read_attempt(run, task, numbers[-1]) if numbers else None


class Claim:
    """This process's attempt at a task: the only writer of its file."""

    def __init__(self, run: Run, task: int, number: int) -> None:
        self.run, self.task, self.number = run, task, number
        self.file = attempt_file(run, task, number)

    @classmethod
    def take(cls, run: Run, task: int, details: dict[str, Any]) -> Claim:
        """Create the next attempt file exclusively; an older copy that still lives sees it and stops.

        The file appears with its claim in it: a process killed here leaves no attempt that nobody made.
        """
        while True:
            claim = cls(run, task, 1 + (attempt_numbers(run).get(task) or [0])[-1])
            if publish(claim.file, as_line(_record("claim", details))):
                return claim

    def write(self, record: str, **values: Any) -> None:
        append(self.file, _record(record, values))

    def end(self, state: str, reason: str) -> None:
        """The last record; a long reason is cut, so that readers find it in the tail of the file."""
        self.write(
            "end",
            host=socket.gethostname(),
            state=state,
            reason=_cut(reason),
        )

    def superseded(self) -> bool:
        """Returns True once a later attempt exists: it owns the task, and this copy stops."""
        return attempt_file(self.run, self.task, self.number + 1).exists()


def _cut(reason: str) -> str:
    """A reason that a record in the tail of its file has room for, however many bytes its characters take."""
    cut = reason[:_REASON]
    while len(json.dumps(cut)) > _TAIL // 2:
        cut = cut[: len(cut) * 3 // 4]
    return cut if cut == reason else f"{cut} …"


def _record(kind: str, values: dict[str, Any]) -> dict[str, Any]:
    return {"record": kind, "time": round(time.time(), 3), **values}


@cache
def boot_id() -> str:
    """Changes when the machine restarts; with a process's start time it distinguishes a live claim from a recycled pid."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def process_start(pid: int) -> str:
    """Start time of a process in the kernel's ticks, or empty if there is none (or it is a zombie)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in ("Z", "X") else fields[19]


def here() -> dict[str, Any]:
    """Who this process is, for a claim."""
    pid = os.getpid()
    return {
        "host": socket.gethostname(),
        "boot": boot_id(),
        "pid": pid,
        "start": process_start(pid),
        "user": os.geteuid(),
    }


def is_alive(claim: dict[str, Any]) -> bool | None:
    """True where the process of a claim lives; None if it is on another host, or another user's that this system hides."""
    if not boot_id() or claim.get("boot") != boot_id():
        # This host before it restarted; else another one (a host that was only renamed keeps its boot).
        return False if claim.get("host") == socket.gethostname() else None
    start = process_start(claim.get("pid", -1))
    if not start and claim.get("user", os.geteuid()) != os.geteuid() and not process_start(1):
        return None
    return bool(start) and start == claim.get("start")
