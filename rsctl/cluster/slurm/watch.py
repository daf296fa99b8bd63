"""Caches the scheduler's state, shared in this process and refreshed at most every few seconds."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable

from rsctl.cluster.slurm.commands import JobRow, QueueView, limits, read_accounting, read_queue
from rsctl.errors import UnavailableError

_LONGEST_PAUSE = 60.0
_ACCOUNTING_EVERY = 30.0


class Watch:
    """Caches the last view of the queue and the accounting records of jobs that left it.

    While the controller is unreachable the last view is kept, `away` has the reason, and the pauses grow.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.view: QueueView | None = None
        self.cluster = ""
        self.problem = ""
        self.unreadable = 0
        self._polled = float("-inf")
        self._failures = 0
        self._accounting: dict[str, JobRow] = {}
        self._accounting_polled: dict[str, float] = {}

    def poll(self, every: float) -> QueueView | None:
        """Return the queue as of at most `every` seconds ago, or the last known view; None if there never was one."""
        with self.lock:
            pause = min(_LONGEST_PAUSE, every * 2**self._failures)
            if time.monotonic() - self._polled < pause:
                return self.view
            try:
                self.view, self.cluster = read_queue(), limits().cluster
                self.problem, self._failures, self.unreadable = "", 0, self.view.unreadable
            except UnavailableError as error:
                self._failures += 1
                since = time.strftime("%H:%M:%S", time.localtime(self.view.taken)) if self.view else ""
                self.problem = f"{error}" + (f" (last heard at {since})" if since else "")
            self._polled = time.monotonic()
            return self.view

    def poll_again(self) -> None:
        """Query the scheduler at the next `look`: something was submitted or cancelled."""
        with self.lock:
            self._polled = float("-inf")

    def accounting(self, jobs: Iterable[str], since: float) -> dict[str, JobRow]:
        """Return accounting's rows for jobs that left the queue; empty without accounting."""
        with self.lock:
            wanted = [job for job in jobs if job not in self._accounting]
            now = time.monotonic()
            due = {
                job.partition("_")[0]
                for job in wanted
                if now - self._accounting_polled.get(job.partition("_")[0], float("-inf")) > _ACCOUNTING_EVERY
            }
            if due and not self.problem:
                try:
                    if limits().accounting:
                        found, unreadable = read_accounting(due, since)
                        self.unreadable += unreadable
                        ended = {
                            job: row for job, row in found.items() if row.state not in ("PENDING", "RUNNING")
                        }
                        self._accounting |= ended
                except UnavailableError:
                    pass  # the queue and the files have to do; queried again later
                self._accounting_polled |= dict.fromkeys(due, now)
            return self._accounting

    def notices(self) -> list[str]:
        """Return warnings about the view."""
        found = (
            [f"{self.problem}; showing the last state" if self.view else self.problem] if self.problem else []
        )
        if self.unreadable:
            found.append(
                f"{self.unreadable} rows of SLURM's output couldn't be parsed ('rsctl doctor' shows its version)"
            )
        return found


WATCH = Watch()
