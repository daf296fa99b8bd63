"""Waits for a command on the other side: passes its output on as it comes, and Ctrl+C to it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from types import FrameType

_STDOUT = 1


def wait_for(
    process: subprocess.Popen[bytes], mark: bytes = b"", interrupt: Callable[[], None] | None = None
) -> int:
    """Return the exit code of a local ssh; what its output holds after `mark` is written to stdout.

    The first Ctrl+C is passed on by `interrupt`, the second ends the wait. Without `interrupt`, Ctrl+C reaches the other side
    through its terminal.
    """

    def leave(received: int, _frame: FrameType | None) -> None:
        process.terminate()
        raise SystemExit(128 + received)

    before = {name: signal.signal(name, leave) for name in (signal.SIGTERM, signal.SIGHUP)}
    sys.stdout.flush()
    copying = threading.Thread(target=_copy, args=(process, mark), daemon=True)
    copying.start()
    try:
        while True:
            try:
                code = process.wait()
                copying.join()
                return code
            except KeyboardInterrupt:
                if interrupt:
                    interrupt()
                    interrupt = process.terminate
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


def _copy(process: subprocess.Popen[bytes], mark: bytes) -> None:
    if process.stdout is None:
        return
    head = b""
    try:
        while chunk := os.read(process.stdout.fileno(), 1 << 16):
            if mark:
                head += chunk
                _, found, chunk = head.partition(mark)
                if not found:
                    head = head[-(1 << 16) :]
                    continue
                mark = b""
            while chunk:
                chunk = chunk[os.write(_STDOUT, chunk) :]
    except OSError:
        process.terminate()  # nobody reads any more, as after 'head'
