"""Runs one task: the entry point of every backend, also usable interactively and in a debugger.

`python -m rsctl.cluster.task RUN N`. The torch side is named as text and imported only here, after the
thread count is set: the environment must be ready before torch is loaded.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import os
import signal
import subprocess
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rsctl.catalog import use_plugins
from rsctl.catalog.checkpoints import CHECKPOINT
from rsctl.catalog.predictions import PREDICTIONS
from rsctl.errors import UserError
from rsctl.modules import module_command
from rsctl.owners import share_with_group
from rsctl.plain import guard
from rsctl.store.attempts import Claim, here, read_attempt
from rsctl.store.files import remove_temporaries
from rsctl.store.layout import Run
from rsctl.store.provenance import git_state, versions
from rsctl.store.task_context import Stopped, TaskContext
from rsctl.store.trust import check_task, group_of_environment

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2)
_PR_SET_PDEATHSIG = 1
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class AttemptEnd:
    """The end of an attempt."""

    state: str
    """`done`, `stopped` or `failed`."""
    reason: str
    claim: Claim


def run_task(run: Run, number: int) -> int:
    """Run a task in this process; returns an exit code (0 done or stopped, 1 failed)."""
    launch = _launch(run, number)
    if int(launch.get("processes", 1)) > 1 and not run.kind.is_table and "RANK" not in os.environ:
        return _run_processes(run, number, int(launch["processes"]))
    return 1 if perform(run, number).state == "failed" else 0


def perform(run: Run, number: int, stop: Stop | None = None, **here_and_now: Any) -> AttemptEnd:
    """Claim the task, run it in this process and record how it ended. After a signal it saves a snapshot and stops.

    `stop` has listened since before; keywords replace values of the run's launch file on this machine, such as `data` or `snapshot_seconds`.
    """
    stop = stop or Stop()
    launch = {**_launch(run, number), **here_and_now}
    use_plugins(launch["plugins"])
    for variable in _THREAD_VARIABLES:
        os.environ[variable] = str(launch["threads"])
    claim = _claim(run, number, launch)
    work = TaskContext(run, number, claim, Path(launch["data"]), launch)
    stop.attach(work)
    for folder in (run.path, run.tasks_folder, run.shards_folder):
        remove_temporaries(folder)
    print(
        f"{time.strftime('%Y-%m-%d %H:%M:%S')} task {number} of {run.id}, attempt {claim.number}, pid {os.getpid()}",
        flush=True,
    )
    state, reason = "done", ""
    try:
        importlib.import_module(module_of(run)).main(work)
    except Stopped as stopped:
        state, reason = "stopped", str(stopped)
    except UserError as error:
        state, reason = "failed", str(error)
    except Exception as error:
        traceback.print_exc()
        state, reason = "failed", f"{type(error).__name__}: {error}"
    claim.end(state, reason)
    print(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {state}{': ' + reason if reason else ''}", flush=True)
    return AttemptEnd(state, reason, claim)


def module_of(run: Run) -> str:
    """The module of the data plane whose `main(work)` runs a run's tasks."""
    method = "" if run.kind.is_table else run.train_spec.method
    return next((task.module for task in (CHECKPOINT, PREDICTIONS) if task.name == method), run.kind.module)


def _launch(run: Run, number: int) -> dict[str, Any]:
    run.require_task(number)
    share_with_group(group_of_environment())
    check_task(run, number, group=group_of_environment())
    return run.launch()


class Stop:
    """Handles signals from its construction on, also before there is a loop to stop."""

    def __init__(self) -> None:
        self.work: TaskContext | None = None
        self.reason = ""
        for name in _SIGNALS:
            signal.signal(name, self._receive)

    def _receive(self, received: int, _frame: object) -> None:
        self.reason = f"signal {signal.Signals(received).name}"
        if self.work:
            self.work.request_stop(self.reason)

    def attach(self, work: TaskContext) -> None:
        self.work = work
        if self.reason:
            work.request_stop(self.reason)

    @staticmethod
    def over() -> None:
        """Ignore signals once everything is on disk: one during Python's shutdown must not fail a finished task.

        Python gives its own handlers back to the system before it unloads modules, which takes torch a while; an ignored signal stays ignored.
        """
        for name in _SIGNALS:
            signal.signal(name, signal.SIG_IGN)


def _claim(run: Run, number: int, launch: dict[str, Any]) -> Claim:
    """Return the claim of this process; the other processes of a training share the first one's."""
    if "RSCTL_ATTEMPT" not in os.environ:
        return take_claim(run, number, launch)
    die_with_parent()
    first = os.environ.get("RANK", "0") == "0"
    return (Claim if first else FollowerClaim)(run, number, int(os.environ["RSCTL_ATTEMPT"]))


def take_claim(run: Run, number: int, launch: dict[str, Any], **further: Any) -> Claim:
    """Claim the next attempt at this task for this process."""
    details = {
        **here(),
        **scheduled(),
        "code": launch.get("code", ""),
        "threads": launch["threads"],
        "versions": versions(),
        "git": git_state() or launch.get("provenance", {}).get("git", {}),
        "command": sys.argv,
    }
    return Claim.take(run, number, {**details, **further})


def scheduled() -> dict[str, Any]:
    """Return the SLURM job that this process is part of, with its cluster; empty outside of a job."""
    job = os.environ.get("SLURM_JOB_ID")
    if not job:
        return {}
    array, index = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return {
        "cluster": os.environ.get("SLURM_CLUSTER_NAME", ""),
        "job": f"{array}_{index}" if array and index else job,
        "restart": int(os.environ.get("SLURM_RESTART_COUNT", "0")),
        "node": os.environ.get("SLURMD_NODENAME", ""),
        "submission": os.environ.get("RSCTL_SUBMISSION", ""),
    }


class FollowerClaim(Claim):
    """The claim of a process that isn't the first of its training: it writes nothing."""

    def write(self, record: str, **values: Any) -> None:
        pass


def _run_processes(run: Run, number: int, processes: int) -> int:
    """Train in several processes of this machine: claim once, then start one process per GPU (or share of the CPUs)."""
    claim = take_claim(run, number, run.launch())
    command = module_command(
        "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}",
        "--module", "rsctl.cluster.task", str(run.path), str(number),
    )  # fmt: skip
    child = subprocess.Popen(
        command, env={**os.environ, "RSCTL_ATTEMPT": str(claim.number)}, start_new_session=True, preexec_fn=die_with_parent,
        # Its processes are started by `python -m`, which imports from the working directory.
        cwd="/",
    )  # fmt: skip
    signals: list[int] = []

    def forward(received: int, _frame: object) -> None:
        signals.append(received)
        os.killpg(child.pid, signal.SIGTERM)

    for name in _SIGNALS:
        signal.signal(name, forward)
    code = child.wait()
    if code and not signals:
        if not read_attempt(run, number, claim.number).ended:
            claim.end("failed", f"a training process ended with code {code}; see the log")
        return 1
    return 0


def die_with_parent() -> None:
    """Have the kernel send SIGTERM when the parent dies: a killed launcher leaves no training behind (Linux)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def main(arguments: list[str]) -> int:
    """Entry point of `python -m rsctl.cluster.task RUN N`."""
    if len(arguments) != 2 or not arguments[1].isdigit():
        print("usage: python -m rsctl.cluster.task RUN N", file=sys.stderr)
        return 2
    try:
        return run_task(Run(Path(arguments[0]).resolve()), int(arguments[1]))
    except UserError as error:
        print(error, file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    guard()
    sys.exit(main(sys.argv[1:]))
