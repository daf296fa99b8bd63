"""Task context: run, claim, progress, stop requests."""

from __future__ import annotations

import resource
import time
from pathlib import Path
from typing import Any

from rsctl.store.attempts import Claim
from rsctl.store.layout import Run

_PROGRESS_EVERY = 1.0
_LOOK_EVERY = 1.0


class Stopped(Exception):
    """A stop was requested, or a later copy took over; the snapshot is written."""


class TaskContext:
    """One attempt at one task, as the data plane sees it.

    Attributes
    ----------
    snapshot_seconds
        How much work may be lost to a kill; a snapshot that takes long is written more rarely.
    """

    def __init__(self, run: Run, task: int, claim: Claim, data_root: Path, launch: dict[str, Any]) -> None:
        self.run, self.task, self.claim, self.data_root, self.launch = run, task, claim, data_root, launch
        self.snapshot_seconds = float(launch.get("snapshot_seconds", 5.0))
        self.stop_reason = ""
        self._last_snapshot = time.monotonic()
        self._snapshot_cost = 0.0
        self._last_progress = 0.0
        self._last_look = 0.0
        self._first_done: tuple[float, float] | None = None

    def request_stop(self, reason: str) -> None:
        """Called by a signal handler: the loop sees it between two steps."""
        self.stop_reason = reason

    def stopping(self) -> str:
        """Reason why the loop must stop now, or empty. Checks for a later copy about once a second."""
        now = time.monotonic()
        if not self.stop_reason and now - self._last_look > _LOOK_EVERY:
            self._last_look = now
            if self.claim.superseded():
                self.stop_reason = "superseded by a later attempt"
        return self.stop_reason

    def superseded(self) -> bool:
        """Returns True once a later copy owns the task: nothing shared may be written from then on."""
        return self.claim.superseded()

    def snapshot_due(self) -> bool:
        """Every `snapshot_seconds`, but never more than a twentieth of the time."""
        elapsed = time.monotonic() - self._last_snapshot
        return elapsed > max(self.snapshot_seconds, 20 * self._snapshot_cost)

    def snapshot_written(self, seconds: float) -> None:
        self._last_snapshot, self._snapshot_cost = time.monotonic(), seconds

    def progress(self, done: float, total: float, unit: str, *, force: bool = False, **values: Any) -> None:
        """Record how far the task is; at most one record a second."""
        now = time.monotonic()
        if self._first_done is None:
            self._first_done = (now, done)
        if not force and now - self._last_progress < _PROGRESS_EVERY:
            return
        self._last_progress = now
        start, before = self._first_done
        rate = (done - before) / (now - start) if now > start else 0.0
        if force:  # of the whole process, in KB on Linux
            values["memory_gb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2)
        self.claim.write("progress", done=done, total=total, unit=unit, rate=round(rate, 3), **values)
