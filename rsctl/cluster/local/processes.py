"""GPUs and task processes of this machine."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from rsctl.config.settings import LocalProfile
from rsctl.store.attempts import process_start
from rsctl.store.layout import Store

TASK_MODULE = "rsctl.cluster.task"
QUEUE_MODULES = {b"rsctl.cluster.local.queue", b"rsctl.cluster.queue"}
"""Where the queue is, and where it was when queues that still run were started."""


def visible_gpus(profile: LocalProfile) -> list[int]:
    """Return the GPUs to assign: from the profile, CUDA_VISIBLE_DEVICES or nvidia-smi."""
    shown = os.environ.get("CUDA_VISIBLE_DEVICES")
    if shown is not None:
        found = [int(part) for part in shown.split(",") if part.strip().isdigit()]
    else:
        try:
            listed = subprocess.run(
                ["nvidia-smi", "-L"], capture_output=True, text=True, timeout=20, check=True
            ).stdout
            found = list(range(sum(line.startswith("GPU ") for line in listed.splitlines())))
        except (OSError, subprocess.SubprocessError):
            found = []
    return found if profile.gpus is None else found[: profile.gpus]


def gpus_of(pid: int) -> list[int]:
    """Return the GPUs assigned to a task's process, from its environment."""
    try:
        words = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return []
    given = dict(word.partition("=")[::2] for word in words).get("CUDA_VISIBLE_DEVICES", "")
    return [int(part) for part in given.split(",") if part.isdigit()]


def task_processes(store: Store) -> dict[str, tuple[int, str]]:
    """Map task key → (pid, start time) for this user's processes that run tasks of this store on this machine.

    A killed queue may have started one that hasn't claimed its task yet; the next queue finds it this way.
    """
    found: dict[str, tuple[int, str]] = {}
    for name in sorted(filter(str.isdigit, os.listdir("/proc")), key=int):
        try:
            if os.stat(f"/proc/{name}").st_uid != os.geteuid():
                continue
            words = [os.fsdecode(word) for word in Path(f"/proc/{name}/cmdline").read_bytes().split(b"\0")]
        except OSError:
            continue
        if TASK_MODULE in words[:-2]:
            path, number = words[words.index(TASK_MODULE) + 1 :][:2]
            run = Path(path)
            if run.parent.parent == store.root:
                key = f"{run.parent.name}/{run.name}/{number}"
                found.setdefault(key, (int(name), process_start(int(name))))
    return found


def stopped_queues(store: Store) -> list[int]:
    """Return queue processes of this store that are suspended (Ctrl+Z, SIGSTOP): they hold their lock and do nothing."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = Path(f"/proc/{name}/cmdline").read_bytes().split(b"\0")
            if not QUEUE_MODULES.intersection(words):
                continue
            given = Path(f"/proc/{name}/environ").read_bytes().split(b"\0")
            state = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if os.fsencode(f"RSCTL_STORE={store.root}") in given and state in ("T", "t"):
            found.append(int(name))
    return found
