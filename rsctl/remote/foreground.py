"""Waits for a command on the other side, and passes on Ctrl+C."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable
from types import FrameType

INTERRUPTED = 130
"""Exit code after Ctrl+C."""


def wait_for(process: subprocess.Popen[bytes], interrupt: Callable[[], None] | None = None) -> int:
    """Return the exit code of a local ssh; the first Ctrl+C is passed on by `interrupt`, the second ends the wait.

    Without `interrupt`, Ctrl+C reaches the other side through its terminal.
    """

    def leave(received: int, _frame: FrameType | None) -> None:
        process.terminate()
        raise SystemExit(128 + received)

    before = {name: signal.signal(name, leave) for name in (signal.SIGTERM, signal.SIGHUP)}
    try:
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:
                if interrupt is None:
                    continue
                interrupt()
                interrupt = process.terminate
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
