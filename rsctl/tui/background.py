"""Runs blocking work off the UI thread.

Textual's thread workers can't be killed and delay the exit of the process for as long as a file system
hangs. These are daemon threads instead: one per group, and leaving waits for none of them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from textual.events import Event
from textual.message_pump import MessagePump

from rsctl.errors import UserError
from rsctl.owners import denied

T = TypeVar("T")
REST = 9.0
"""Repeated work pauses for this many times its own duration, so that it uses at most a tenth of a core."""


class Result(Event, bubble=False):
    """Result of a job. An event, so that a screen can drop results that arrive after its widgets are gone."""


class Done(Result, bubble=False):
    """A job ended; its receiver calls `then` with the value."""

    def __init__(self, then: Callable[[Any], object], value: object) -> None:
        super().__init__()
        self.then, self.value = then, value


class Failed(Result, bubble=False):
    """A job ended with the error in `text`; its receiver calls `handle`, if any, or shows it."""

    def __init__(self, text: str, handle: Callable[[str], object] | None = None) -> None:
        super().__init__()
        self.text, self.handle = text, handle


class Receiver:
    """Mixed into screens that jobs report to."""

    def on_done(self, message: Done) -> None:
        message.then(message.value)

    def on_failed(self, message: Failed) -> None:
        if message.handle is not None:
            message.handle(message.text)


class _Job(NamedTuple):
    run: Callable[[], Any]
    to: MessagePump
    then: Callable[[Any], object] | None
    failed: Callable[[str], object] | None


@dataclass
class _Group:
    wake: threading.Condition = field(default_factory=threading.Condition)
    waiting: _Job | None = None
    started: float = 0.0
    """Monotonic start time of the running job; 0 if there is none."""
    ended: float = 0.0
    cost: float = 0.0


class Background:
    """One daemon thread per group of jobs; of the jobs waiting in a group only the newest is kept."""

    def __init__(self) -> None:
        self._groups: dict[str, _Group] = {}

    def submit(
        self,
        group: str,
        job: Callable[[], T | None],
        to: MessagePump,
        then: Callable[[T], object] | None = None,
        failed: Callable[[str], object] | None = None,
    ) -> None:
        """Run `job` on the group's thread; `to` then calls `then` with its value, or `failed` with its error.

        Both run on the UI thread and only while `to`, a `Receiver`, exists. The value None reports nothing.
        """
        entry = self._groups.get(group)
        if entry is None:
            entry = self._groups[group] = _Group()
            threading.Thread(target=self._serve, args=(entry,), name=f"rsctl-{group}", daemon=True).start()
        with entry.wake:
            entry.waiting = _Job(job, to, then, failed)
            entry.wake.notify()

    def due(self, group: str, every: float) -> bool:
        """True if a group's work may be repeated: it isn't running, and has paused long enough."""
        entry = self._groups.get(group)
        if entry is None:
            return True
        rested = time.monotonic() - entry.ended
        return entry.waiting is None and not entry.started and rested >= max(every, REST * entry.cost)

    def busy(self, group: str) -> float:
        """Seconds that the running job has taken so far; 0 if there is none."""
        entry = self._groups.get(group)
        return time.monotonic() - entry.started if entry and entry.started else 0.0

    def finish(self, group: str, seconds: float) -> None:
        """Wait until a group is idle, for at most so many seconds."""
        entry, end = self._groups.get(group), time.monotonic() + seconds
        while entry and (entry.waiting or entry.started) and time.monotonic() < end:
            time.sleep(0.01)

    def _serve(self, entry: _Group) -> None:
        while True:
            with entry.wake:
                while entry.waiting is None:
                    entry.wake.wait()
                job, entry.waiting = entry.waiting, None
                entry.started = time.monotonic()
            message: Result | None
            processor = time.thread_time()
            try:
                value = job.run()
                message = None if job.then is None or value is None else Done(job.then, value)
            except PermissionError as error:
                text = denied(Path(error.filename)) if error.filename else str(error)
                message = Failed(f"{error.filename}: {text}", job.failed)
            except (UserError, OSError) as error:
                message = Failed(str(error), job.failed)
            except Exception as error:
                message = Failed(f"{type(error).__name__}: {error}", job.failed)
            entry.cost = time.thread_time() - processor
            entry.ended, entry.started = time.monotonic(), 0.0
            if message is not None:
                job.to.post_message(message)
