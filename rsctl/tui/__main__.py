"""`python -m rsctl.tui`: the dashboard as `rsctl serve` starts it, for one browser."""

from __future__ import annotations

import os
import signal
import threading
import time

from rsctl.tui.app import make_app

_EVERY = 1.0
_LEAVE = 5.0


def _end_without(server: int) -> None:
    """End this process once the server, its parent, was killed: Textual's driver for browsers doesn't notice that."""
    while os.getppid() == server:
        time.sleep(_EVERY)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_LEAVE)
    os._exit(1)  # nobody is left to read its output, on which it may be waiting


if __name__ == "__main__":
    threading.Thread(target=_end_without, args=(os.getppid(),), daemon=True).start()
    make_app().run()
