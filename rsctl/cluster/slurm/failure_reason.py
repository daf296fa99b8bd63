"""Finds the reason for a failure that a task didn't record itself, in SLURM's log of its job."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

from rsctl.cluster.backend import BackendState
from rsctl.cluster.slurm.script import GAVE_UP, SETUP_MESSAGE
from rsctl.cluster.slurm.states import advice_for
from rsctl.plain import plain
from rsctl.regular import open_regular
from rsctl.store.layout import Run

_TAIL, _WIDEST, _LONGEST = 1 << 18, 4096, 600
"""Bytes read of a log and of one of its lines, and characters reported of a line."""
_MEMORY = re.compile(
    rb"^.*(?:exceeded (?:job )?memory limit|oom[-_ ]kill|out-of-memory handler).*$", re.I | re.M
)
"""Messages of slurmstepd. When a job step hits its limit, the state of the job is often just FAILED."""
_ERROR = re.compile(
    rb"^.*?((?:\b\w*Error|error|ERROR)(?::\d+)?: .*|\b\w*NotFound: .*|.*: command not found"
    rb"|(?<=: line )\d+: .*: (?:No such file or directory|Permission denied))$", re.M
)  # fmt: skip
_GAVE_UP = re.compile(rb"^" + GAVE_UP.encode() + rb"(.*)$", re.M)
_SETUP = re.compile(rb"^" + SETUP_MESSAGE.encode() + rb"(.*)$", re.M)


def explain(seen: BackendState, run: Run, log: Path, began: bool) -> BackendState:
    """Return the state with a more precise reason; `began` is true if the task made an attempt."""
    try:
        text = _tail(log)
    except FileNotFoundError:
        if began:
            return seen
        where = f"does {seen.node or 'its node'} see {run.store.root}? 'rsctl doctor' tests it"
        return replace(seen, reason=f"{seen.reason}; it wrote nothing, not even {log}: {where}")
    if found := _MEMORY.search(text):
        line = _line(found[0])
        return replace(seen, reason=f"SLURM: OUT_OF_MEMORY ({line}){advice_for('OUT_OF_MEMORY')}")
    if not began and (failure := _setup_failure(text, _under_way(log))):
        # Only the log has the reason why a task couldn't start, such as a missing Python or library.
        return replace(seen, reason=f"{seen.reason.partition(';')[0]}; {failure}")
    return seen


def _setup_failure(text: bytes, under_way: bytes) -> str:
    """Return the first error in a log, the setup lines that failed before it, and the one that ended the script."""
    failed = list(dict.fromkeys(_line(line) for line in _SETUP.findall(text)))
    if (ended := _line(under_way)) and not any(ended in line for line in failed):
        failed.append(f"'{ended}' never returned")
    error = _GAVE_UP.search(text) or _ERROR.search(text)
    parts = [f"setup failed: {', '.join(failed)}"] if failed else []
    return ": ".join([*parts, *([re.sub(r"^\d+: ", "", _line(error[1]))] if error else [])])


def _under_way(log: Path) -> bytes:
    """Return the setup line that ran when the job ended; empty if setup was complete."""
    try:
        return _tail(log.with_name(log.name.removesuffix("_0_log.out") + ".setup"))
    except OSError:
        return b""


def _line(text: bytes) -> str:
    return plain(" ".join(text.decode("utf-8", "replace").split()), _LONGEST)


def _tail(log: Path) -> bytes:
    """Read the end of a log with its lines cut, because the patterns take quadratic time in their length."""
    with open_regular(log) as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
        return b"\n".join(line[:_WIDEST] for line in file.read().split(b"\n"))
