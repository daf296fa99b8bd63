"""Reads files named by a user: pipes, devices and folders are refused before a read can block."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from rsctl.errors import InputError

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def open_regular(path: Path, most: int | None = None) -> BinaryIO:
    """Open a file for reading; raises InputError if it isn't a regular file or exceeds `most` bytes. OSErrors pass."""
    try:
        _require_regular(path, os.stat(path), most)
        # It may have been replaced since: opening a pipe would block.
        stream = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    except ValueError as error:  # a null byte in its name
        raise InputError(f"{path}: is not a valid file name ({error}).") from error
    try:
        _require_regular(path, os.fstat(stream.fileno()), most)
    except InputError:
        stream.close()
        raise
    return stream


def read_regular(path: Path, most: int | None = None) -> bytes:
    """Read a whole file opened by `open_regular`; empty for the kernel's files, which report a size of 0."""
    with open_regular(path, most) as stream:
        return stream.read(os.fstat(stream.fileno()).st_size)


def _require_regular(path: Path, status: os.stat_result, most: int | None) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = next((name for is_kind, name in _KINDS if is_kind(status.st_mode)), "no file")
        raise InputError(f"{path}: is {kind}, where a file is needed.")
    if most is not None and status.st_size > most:
        raise InputError(f"{path}: has {status.st_size:,} bytes; a file of this kind has at most {most:,}.")
