"""The local queue's files: one request per task, and one note per task that ended without running to an end.

`<store>/queue/<user>@<host>/requests/<task>.json` is what is wanted; a submission creates it, the queue removes it
when the task is done or failed, `cancel` moves it to `ended/` with a reason. All of it is on disk, so the
queue process itself remembers nothing that matters. A queue runs only the requests of its own user.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rsctl.owners import check_owner, is_mine, user_name
from rsctl.plan.tasks import Request, Task
from rsctl.store.attempts import State
from rsctl.store.exclusion import is_held
from rsctl.store.files import make_folder, names_in, publish, replace, to_json
from rsctl.store.layout import Store, is_key
from rsctl.store.records import ASIDE, Kind, move_aside, read_or_skip, wrong
from rsctl.store.task_fields import ENDING, REQUEST


@dataclass(frozen=True)
class Queue:
    """The queue folder of one user on one host in one store."""

    store: Store
    host: str
    user: int | None = None
    """None for the folder of an older rsctl, shared by all users of a host."""

    @property
    def folder(self) -> Path:
        name = self.host if self.user is None else f"{self.user}@{self.host}"
        return self.store.root / "queue" / name

    @property
    def is_mine(self) -> bool:
        return self.user == os.geteuid()

    @property
    def where(self) -> str:
        """Its host, and its user if that is another one."""
        return self.host if self.is_mine or self.user is None else f"{self.host}, user {user_name(self.user)}"

    def make(self) -> None:
        """Create its folder: only its user can write there, even in a group's store."""
        for folder in (self.folder, self.requests, self.ended):
            make_folder(folder, 0o755)
            check_owner(folder, self.store.root, group=False)

    @property
    def requests(self) -> Path:
        return self.folder / "requests"

    @property
    def ended(self) -> Path:
        return self.folder / "ended"

    @property
    def lock(self) -> Path:
        return self.folder / "lock"

    @property
    def log(self) -> Path:
        return self.folder / "queue.log"

    def request_file(self, key: str) -> Path:
        return self.requests / f"{key.replace('/', '~')}.json"

    def ended_file(self, key: str) -> Path:
        return self.ended / f"{key.replace('/', '~')}.json"

    def add(self, request: Request) -> bool:
        """Add a request for a task; returns False if it was requested already."""
        task = request.task
        for file, kind in ((self.ended_file(task.key), ENDING), (self.request_file(task.key), REQUEST)):
            if wrong(file, kind):
                move_aside(file)
        self.make()
        self.ended_file(task.key).unlink(missing_ok=True)
        values = {
            "task": task.key,
            "needs": [need.key for need in request.needs],
            "threads": request.resources.threads * request.resources.processes,
            "gpus": request.resources.gpus,
            "code": request.code,
            "after": request.after,
            "submitted": time.time(),
        }
        return publish(self.request_file(task.key), to_json(values))

    def end(self, key: str, state: State, reason: str) -> bool:
        """Remove a request and record the reason; returns False if there was none."""
        if not self.request_file(key).exists():
            return False
        # The note is written first: a kill in between leaves a request that is simply ended again.
        replace(
            self.ended_file(key),
            to_json({"task": key, "state": state.value, "reason": reason, "time": time.time()}),
        )
        self.request_file(key).unlink(missing_ok=True)
        return True

    def finish(self, key: str) -> None:
        """Remove the request of a task whose own files record how it ended."""
        self.ended_file(key).unlink(missing_ok=True)
        self.request_file(key).unlink(missing_ok=True)

    def wanted(self) -> dict[str, dict[str, Any]]:
        """Return the requests of the queue's user by task key, oldest first."""
        found = _read_folder(self.requests, REQUEST)
        own = [(key, values) for key, values in found.items() if self._is_own(self.request_file(key))]
        return dict(sorted(own, key=lambda item: (item[1]["submitted"], item[0])))

    def _is_own(self, file: Path) -> bool:
        """Return whether a file was written by the queue's user; always true in a folder of an older rsctl."""
        if self.is_mine:
            return is_mine(file)
        with contextlib.suppress(OSError):
            return self.user in (None, file.lstat().st_uid)
        return False

    def take_over(self) -> None:
        """Move this user's requests here from an older rsctl's folder for the whole host, unless a queue serves it."""
        old = Queue(self.store, self.host)
        if not old.requests.is_dir() or is_held(old.lock):
            return
        self.make()
        for key in old.wanted():
            if is_mine(old.request_file(key)):
                with contextlib.suppress(OSError):
                    os.rename(old.request_file(key), self.request_file(key))

    def unreadable(self) -> list[Path]:
        """Return files among the requests that are invalid or another user's, and therefore ignored."""
        known = {self.request_file(key).name for key in self.wanted()}
        names = [name for name in names_in(self.requests) if not name.startswith(".") and ASIDE not in name]
        return [self.requests / name for name in names if name not in known]

    def endings(self) -> dict[str, dict[str, Any]]:
        return _read_folder(self.ended, ENDING)


def own_queue(store: Store) -> Queue:
    """Return this user's queue on this host."""
    return Queue(store, re.sub(r"[^A-Za-z0-9._-]", "_", socket.gethostname()), os.geteuid())


def all_queues(store: Store) -> list[Queue]:
    """Return the queues of every user and host that ever submitted to this store."""
    split = [(name, *name.partition("@")[::2]) for name in names_in(store.root / "queue")]
    return [
        Queue(store, host, int(user)) if host and user.isdecimal() else Queue(store, name)
        for name, user, host in split
    ]


def task_of(store: Store, key: str) -> Task:
    kind, run_id, number = key.split("/")
    return Task(store.run(kind, run_id), int(number))


def _read_folder(folder: Path, kind: Kind) -> dict[str, dict[str, Any]]:
    """Read the valid files of a folder by task key; other files are skipped."""
    found = {}
    for name in names_in(folder):
        key = name.removesuffix(".json").replace("~", "/")
        if is_key(key):
            values = read_or_skip(folder / name, kind)
            if values and values["task"] == key:
                found[key] = values
    return found
