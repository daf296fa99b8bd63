"""Logs of tasks."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from rsctl.cluster.slurm.submissions import submissions
from rsctl.errors import InputError
from rsctl.regular import open_regular
from rsctl.store.layout import Run

LONGEST_LOG = 8 << 20
"""Bytes of a log that are printed: of a longer one only the end."""


def log_files(run: Run, number: int) -> list[Path]:
    """Return a task's log files: its own and that of its newest SLURM job."""
    held = submissions(run).get(number)
    return [run.log_file(number), *([held.log_of(number)] if held and held.job else [])]


def tail(
    run: Run, number: int, write: Callable[[str], None], *, follow: Callable[[], bool] | None = None
) -> None:
    """Write a task's logs; with `follow`, keep writing what is added as long as it returns True."""
    position: dict[Path, int] = {}
    for file in log_files(run, number):
        size = file.stat().st_size if file.is_file() else 0
        if size > LONGEST_LOG:
            position[file] = size - LONGEST_LOG
            write(f"… the last {LONGEST_LOG:,} of {size:,} bytes of {file}:\n")
    shown: Path | None = None
    while True:
        going = follow() if follow else False
        files = log_files(run, number)
        if follow is None and not any(file.exists() for file in files):
            raise InputError(f"{run.id}: task {number} has no log yet ({files[0]}).")
        for file in files:
            for text in _added(file, position):
                if file != (shown or files[0]):
                    write(f"\n==> {file} <==\n")
                shown = file
                write(text)
        if not going:
            return


def _added(file: Path, position: dict[Path, int]) -> Iterator[str]:
    """Read the part of a file that wasn't read yet."""
    with contextlib.suppress(FileNotFoundError), open_regular(file) as log:
        log.seek(position.get(file, 0))
        while chunk := log.read(65536):
            position[file] = log.tell()
            yield chunk.decode("utf-8", "replace")
