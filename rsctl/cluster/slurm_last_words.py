"""A task that failed without a word of its own: what SLURM's log of its job tells, or that there is none."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

from rsctl.cluster.backend import Seen
from rsctl.cluster.slurm_script import GAVE_UP, SAID_OF_SETUP
from rsctl.cluster.slurm_states import advice_for
from rsctl.store.layout import Run

_TAIL = 8192
_MEMORY = re.compile(
    rb"^.*(?:exceeded (?:job )?memory limit|oom[-_ ]kill|out-of-memory handler).*$", re.I | re.M
)
"""What slurmstepd writes. Where a job step hits its limit, the job itself is often just FAILED."""
_ERROR = re.compile(
    rb"^.*?((?:\w*Error|error|ERROR)(?::\d+)?: .*|\w*NotFound: .*|.*: command not found)$", re.M
)
_GAVE_UP = re.compile(rb"^" + GAVE_UP.encode() + rb"(.*)$", re.M)
_SETUP = re.compile(rb"^" + SAID_OF_SETUP.encode() + rb"(.*)$", re.M)


def explain(seen: Seen, run: Run, log: Path, began: bool) -> Seen:
    """The same state with a better reason; `began` tells whether the task made an attempt."""
    try:
        words = _tail(log)
    except FileNotFoundError:
        if began:
            return seen
        where = f"does {seen.node or 'its node'} see {run.store.root}? 'rsctl doctor' tries it"
        return replace(seen, reason=f"{seen.reason}; it wrote nothing, not even {log}: {where}")
    if found := _MEMORY.search(words):
        line = " ".join(found[0].decode("utf-8", "replace").split())
        return replace(seen, reason=f"SLURM: OUT_OF_MEMORY ({line}){advice_for('OUT_OF_MEMORY')}")
    if not began and (told := _told(words)):
        # What kept the task from beginning stands nowhere else: a Python that isn't there, a library that is missing.
        return replace(seen, reason=f"{seen.reason.partition(';')[0]}; {told}")
    return seen


def _told(words: bytes) -> str:
    """The first error in a log, and the setup lines that failed before it."""
    failed = [" ".join(line.decode("utf-8", "replace").split()) for line in _SETUP.findall(words)]
    error = _GAVE_UP.search(words) or _ERROR.search(words)
    said = " ".join(error[1].decode("utf-8", "replace").split()) if error else ""
    return ": ".join(
        filter(None, [f"setup failed: {', '.join(dict.fromkeys(failed))}" if failed else "", said])
    )


def _tail(log: Path) -> bytes:
    with open(log, "rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
        return file.read()
