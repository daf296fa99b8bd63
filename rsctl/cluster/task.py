"""Runs one task anywhere: what every backend, an interactive node and a debugger start.

`python -m rsctl.cluster.task RUN N`. The torch side is named as text and imported only here, after the
thread count is set: the environment must be ready before torch is loaded.
"""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from rsctl.catalog import use_plugins
from rsctl.errors import InputError, UserError
from rsctl.store.attempts import Claim, here
from rsctl.store.files import remove_temporaries
from rsctl.store.layout import Run
from rsctl.store.provenance import git_state, versions
from rsctl.store.work import Stopped, Work

STAGES = {"models": "jobs.train", "counts": "jobs.count"}
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2)
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def run_task(run: Run, number: int) -> int:
    """Claim the task, do it, record how it ended; returns an exit code (0 done or stopped, 1 failed)."""
    if number not in run.task_numbers():
        raise InputError(
            f"{run.path}: has no task {number}. It has: {', '.join(map(str, run.task_numbers())) or '(none)'}."
        )
    launch = run.launch()
    use_plugins(launch["plugins"])
    for variable in _THREAD_VARIABLES:
        os.environ[variable] = str(launch["threads"])
    # Threads that spin at every barrier starve each other as soon as something else wants a core. ResNet-20 on two
    # cores: 900 to 1,100 images/s alone either way; 20 to 100 beside one busy process when they spin, 200 to 250
    # beside two when they sleep.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if int(launch.get("processes", 1)) > 1 and run.kind == "models" and "RANK" not in os.environ:
        return _run_processes(run, number, int(launch["processes"]))
    claim = _claim(run, number, launch)
    work = Work(run, number, claim, Path(launch["data"]), launch)
    for name in _SIGNALS:
        signal.signal(
            name, lambda received, _frame: work.request_stop(f"signal {signal.Signals(received).name}")
        )
    for folder in (run.path, run.tasks_folder, run.shards_folder):
        remove_temporaries(folder)
    print(
        f"{time.strftime('%Y-%m-%d %H:%M:%S')} task {number} of {run.id}, attempt {claim.number}, pid {os.getpid()}",
        flush=True,
    )
    state, reason, code = "done", "", 0
    try:
        importlib.import_module(STAGES[run.kind]).main(work)
    except Stopped as stopped:
        state, reason = "stopped", str(stopped)
    except UserError as error:
        state, reason, code = "failed", str(error), 1
    except Exception as error:
        traceback.print_exc()
        state, reason, code = "failed", f"{type(error).__name__}: {error}", 1
    claim.write("end", state=state, reason=reason)
    print(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {state}{': ' + reason if reason else ''}", flush=True)
    return code


def _claim(run: Run, number: int, launch: dict[str, Any]) -> Claim:
    """The claim of this process; the other processes of one training share the first one's."""
    rank = int(os.environ.get("RANK", "0"))
    if rank:
        return FollowerClaim(run, number, int(os.environ["RSCTL_ATTEMPT"]))
    if "RSCTL_ATTEMPT" in os.environ:
        return Claim(run, number, int(os.environ["RSCTL_ATTEMPT"]))
    return Claim.take(run, number, _details(launch))


def _details(launch: dict[str, Any]) -> dict[str, Any]:
    return {
        **here(),
        "code": launch.get("code", ""),
        "threads": launch["threads"],
        "versions": versions(),
        "git": git_state() or launch.get("provenance", {}).get("git", {}),
        "command": sys.argv,
    }


class FollowerClaim(Claim):
    """The claim of a process that isn't the first of its training: it writes nothing."""

    def write(self, record: str, **values: Any) -> None:
        pass


def _run_processes(run: Run, number: int, processes: int) -> int:
    """Train in several processes of this machine: claim once, then start one process per GPU (or CPU share)."""
    claim = Claim.take(run, number, _details(run.launch()))
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}",
        "--module", "rsctl.cluster.task", str(run.path), str(number),
    ]  # fmt: skip
    child = subprocess.Popen(
        command, env={**os.environ, "RSCTL_ATTEMPT": str(claim.number)}, start_new_session=True
    )
    asked: list[int] = []

    def forward(received: int, _frame: object) -> None:
        asked.append(received)
        os.killpg(child.pid, signal.SIGTERM)

    for name in _SIGNALS:
        signal.signal(name, forward)
    code = child.wait()
    if code and not asked:
        claim.write("end", state="failed", reason=f"a training process ended with code {code}; see the log")
        return 1
    return 0


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
    sys.exit(main(sys.argv[1:]))
