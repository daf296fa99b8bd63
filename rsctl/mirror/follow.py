"""Mirrors sweeps while they are watched, in a process of its own: a slow or broken package holds nothing up."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Collection

from rsctl.modules import module_command

EVERY = 30.0
"""Seconds between two calls."""
_LONGEST = 300.0
"""Seconds after which a call that hangs is stopped at the end."""


class Follower:
    """Calls `rsctl mirror` for the sweeps that are watched; does nothing where no mirror is set."""

    def __init__(self, tool: str) -> None:
        self._on = tool != "off"
        self._running: subprocess.Popen[str] | None = None
        self._started = float("-inf")
        self.problem = ""
        """Reason why the last call failed; empty otherwise."""

    def poll(self, sweeps: Collection[str]) -> bool:
        """Start a call where one is due, and none is under way; returns whether it did."""
        due = self._on and sweeps and not self._busy() and time.monotonic() - self._started >= EVERY
        if due:
            self._start(sweeps)
        return bool(due)

    def end(self, sweeps: Collection[str]) -> str:
        """Mirror what is left, wait for it, and return the reason if it failed."""
        if not self._on or not sweeps:
            return ""
        self._wait()
        self._start(sweeps)
        self._wait()
        return self.problem

    def _start(self, sweeps: Collection[str]) -> None:
        self._started = time.monotonic()
        # In the order of their names, so that equal calls are alike.
        command = module_command("rsctl", "mirror", *sorted(sweeps))
        self._running = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
        )  # fmt: skip

    def _busy(self) -> bool:
        if self._running is None:
            return False
        if self._running.poll() is None:
            return True
        self._finish()
        return False

    def _wait(self) -> None:
        if self._running is None:
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._running.wait(_LONGEST)
        if self._running.poll() is None:
            self._running.kill()
            self._running.wait()
        self._finish()

    def _finish(self) -> None:
        assert self._running is not None
        assert self._running.stderr is not None
        said = self._running.stderr.read().strip()
        self._running.stderr.close()
        self.problem = said.splitlines()[-1] if self._running.returncode and said else ""
        self._running = None
