"""A task that failed without a word of its own: what SLURM's log of its job tells, or that there is none."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

from rsctl.cluster.backend import Seen
from rsctl.cluster.slurm_states import advice_for
from rsctl.plain import plain
from rsctl.regular import open_regular
from rsctl.store.layout import Run

_TAIL, _LONGEST = 1 << 18, 600
"""Bytes of a log that are looked at, and characters of a line that are told."""
_MEMORY = re.compile(
    rb"^.*(?:exceeded (?:job )?memory limit|oom[-_ ]kill|out-of-memory handler).*$", re.I | re.M
)
"""What slurmstepd writes. Where a job step hits its limit, the job itself is often just FAILED."""
_ERROR = re.compile(rb"^.*?((?:\b\w*Error|error): .*)$", re.M)


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
        line = _line(found[0])
        return replace(seen, reason=f"SLURM: OUT_OF_MEMORY ({line}){advice_for('OUT_OF_MEMORY')}")
    if not began and (told := _ERROR.search(words)):
        # What kept the task from beginning stands nowhere else: a Python that isn't there, a library that is missing.
        return replace(seen, reason=f"{seen.reason.partition(';')[0]}; {_line(told[1])}")
    return seen


def _line(words: bytes) -> str:
    return plain(" ".join(words.decode("utf-8", "replace").split()), _LONGEST)


def _tail(log: Path) -> bytes:
    with open_regular(log) as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
        return file.read()
