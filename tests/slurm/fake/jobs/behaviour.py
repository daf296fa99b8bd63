"""`<store>/behaviour.json`: which tasks fail, and how long each takes.

train_fails: sigmas whose training fails; count_fails: numbers of the certification tasks that fail;
steps: steps of a task, with `seconds` between them; wait: none ends before this is taken back;
deaf: signals are ignored; megabytes: memory that a task takes and uses.
"""

from __future__ import annotations

import json
import os
import signal
import time
from typing import Any

from rsctl.errors import InputError
from rsctl.store.task_context import Stopped, TaskContext


def behaviour(work: TaskContext) -> dict[str, Any]:
    try:
        return dict(json.loads((work.run.store.root / "behaviour.json").read_text()))
    except FileNotFoundError:
        return {}


def act(work: TaskContext, fails: bool) -> None:
    """Count to `steps`, going on where the last attempt stopped, as a task of ours does."""
    if fails:
        raise InputError("asked to fail")
    told = behaviour(work)
    steps = int(told.get("steps", 1))
    file = work.run.path / f"steps-{work.task}"
    done = int(file.read_text()) if file.exists() else 0
    node, gpus = os.environ.get("SLURMD_NODENAME"), os.environ.get("CUDA_VISIBLE_DEVICES", "none")
    if told.get("deaf"):
        for name in (signal.SIGTERM, signal.SIGUSR2):
            signal.signal(name, signal.SIG_IGN)
    taken = bytearray(b"x") * int(told.get("megabytes", 0) * 2**20)
    print(f"starts at {done} on {node}, gpus {gpus}", flush=True)
    while done < steps or behaviour(work).get("wait"):
        work.progress(done, steps, "steps", force=True)
        time.sleep(float(told.get("seconds", 0.1)))
        done += not behaviour(work).get("wait")
        if reason := work.stopping():
            file.write_text(str(done))
            raise Stopped(reason)
    work.progress(steps, steps, "steps", force=True)
    del taken
