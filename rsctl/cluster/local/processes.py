"""GPUs and task processes of this machine."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from rsctl.config.settings import LocalProfile
from rsctl.store.attempts import process_start
from rsctl.store.files import open_log
from rsctl.store.layout import Run, Store
from rsctl.store.provenance import ONLY_VERIFIED

TASK_MODULE = "rsctl.cluster.task"
QUEUE_MODULES = {"rsctl.cluster.local.queue", "rsctl.cluster.queue"}
"""Modules of the queue: the present one, and that of queues which an earlier version started and which still run."""


def visible_gpus(profile: LocalProfile) -> list[int]:
    """Return the GPUs to assign: from the profile, CUDA_VISIBLE_DEVICES or nvidia-smi."""
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if listed is not None:
        found = [int(part) for part in listed.split(",") if part.strip().isdigit()]
    else:
        try:
            output = subprocess.run(
                ["nvidia-smi", "-L"], capture_output=True, text=True, timeout=20, check=True
            ).stdout
            found = list(range(sum(line.startswith("GPU ") for line in output.splitlines())))
        except (OSError, subprocess.SubprocessError):
            found = []
    return found if profile.gpus is None else found[: profile.gpus]


def gpus_of(pid: int) -> list[int]:
    """Return the GPUs assigned to a task's process, from its environment."""
    visible = _environment(pid).get("CUDA_VISIBLE_DEVICES", "")
    return [int(part) for part in visible.split(",") if part.isdigit()]


def task_processes(store: Store) -> dict[str, tuple[int, str]]:
    """Map task key → (pid, start time) for this user's processes that run tasks of this store on this machine.

    A killed queue may have started one that hasn't claimed its task yet; the next queue finds it this way.
    """
    found: dict[str, tuple[int, str]] = {}
    for pid, arguments in _processes():
        if TASK_MODULE in arguments[:-2] and _is_mine(pid):
            path, number = arguments[arguments.index(TASK_MODULE) + 1 :][:2]
            run = Run(Path(path))
            if run.store == store:
                found.setdefault(f"{run.key}/{number}", (pid, process_start(pid)))
    return found


def stopped_queues(store: Store) -> list[int]:
    """Return queue processes of this store that are suspended (Ctrl+Z, SIGSTOP): they hold their lock and do nothing."""
    found = []
    for pid, arguments in _processes():
        if QUEUE_MODULES.intersection(arguments) and _environment(pid).get("RSCTL_STORE") == str(store.root):
            with contextlib.suppress(OSError):
                state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
                found += [pid] if state in ("T", "t") else []
    return found


def start_process(
    module: str, *arguments: str, log: Path, environment: dict[str, str]
) -> subprocess.Popen[bytes]:
    """Start a module in a session of its own, which outlives this process; its output is appended to the log."""
    own = {**os.environ, **ONLY_VERIFIED, **environment}
    if packages := own.get("PYTHONPATH"):
        # Relative folders are those of the caller's working folder, which the module doesn't run in.
        own["PYTHONPATH"] = os.pathsep.join(os.path.abspath(one) for one in packages.split(os.pathsep) if one)
    with open_log(log) as output:
        return subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            # A file in the caller's, the store's or the run's folder could shadow one of Python's or rsctl's own modules.
            cwd="/", env=own, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            start_new_session=True,
        )  # fmt: skip


def _processes() -> Iterator[tuple[int, list[str]]]:
    """Every process of this machine with its arguments, by pid."""
    for pid in sorted(map(int, filter(str.isdigit, os.listdir("/proc")))):
        with contextlib.suppress(OSError):
            yield pid, os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes()).split("\0")


def _is_mine(pid: int) -> bool:
    try:
        return os.stat(f"/proc/{pid}").st_uid == os.geteuid()
    except OSError:
        return False


def _environment(pid: int) -> dict[str, str]:
    """Environment of a process at its start; empty if it is another user's."""
    try:
        variables = os.fsdecode(Path(f"/proc/{pid}/environ").read_bytes()).split("\0")
    except OSError:
        return {}
    return dict(variable.partition("=")[::2] for variable in variables)
