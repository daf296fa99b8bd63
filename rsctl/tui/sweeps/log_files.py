"""Windows of a log file: of a large file only the visible part is read."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from rsctl.plain import plain

WINDOW = 128 * 1024
_CHUNK = 256 * 1024
_WORDS = (b"traceback (most recent", b"error", b"exception", b"out of memory", b"failed", b"killed")
"""Every error line contains one of these: searching for them is ten times as fast as the pattern."""
_ERROR = re.compile(
    rb"(?i)traceback \(most recent|\berror\b|error:|exception|out of memory|\bfailed\b|killed"
)


@dataclass(frozen=True)
class Window:
    """Consecutive lines of a file, each with the byte it begins at."""

    path: Path
    size: int
    """Bytes in the file when it was read; -1 if it doesn't exist."""
    start: int
    lines: tuple[str, ...] = ()
    offsets: tuple[int, ...] = ()
    end: int = 0
    anchor: int | None = None
    """The byte whose line is scrolled into view; None for the last line."""


def size_of(path: Path) -> int:
    """Bytes in a regular file; -1 if there is none, or for a pipe or device, on which reading could block."""
    try:
        status = os.stat(path)
    except OSError:
        return -1
    return status.st_size if stat.S_ISREG(status.st_mode) else -1


def last_window(path: Path) -> Window:
    """The end of the file."""
    size = size_of(path)
    return Window(path, -1, 0) if size < 0 else _read(path, max(0, size - WINDOW), size, None)


def window_around(path: Path, byte: int) -> Window:
    """The lines around this byte, which becomes the anchor."""
    size = size_of(path)
    if size < 0:
        return Window(path, -1, 0)
    start = max(0, min(byte - WINDOW // 2, size - WINDOW))
    return _read(path, start, min(size, start + WINDOW), byte)


def last_error(path: Path, before: int) -> int | None:
    """Finds the start of the last line before this byte that reports an error; None if there is none."""
    end = min(before, size_of(path))
    with open(path, "rb") as file:
        while end > 0:
            start = max(0, end - _CHUNK)
            file.seek(start)
            data = file.read(end - start)
            small = data.lower()
            found = list(_ERROR.finditer(data)) if any(word in small for word in _WORDS) else []
            if found:
                return start + data.rfind(b"\n", 0, found[-1].start()) + 1
            # A match that spans two chunks is seen whole in the next one.
            end = start + 64 if start else 0
            if end >= before:
                end = start
    return None


def _read(path: Path, start: int, end: int, anchor: int | None) -> Window:
    with open(path, "rb") as file:
        file.seek(start)
        data = file.read(end - start)
    size = max(end, size_of(path))
    if start:
        # The first line is cut; it belongs to the window before. A line longer than the window stays.
        newline = data.find(b"\n")
        if 0 <= newline < len(data) - 1:
            data, start = data[newline + 1 :], start + newline + 1
    if end < size and b"\n" in data:
        # Likewise the last one belongs to the window after.
        data = data[: data.rfind(b"\n") + 1]
    pieces = data.removesuffix(b"\n").split(b"\n") if data else []
    lines = tuple(plain(piece.decode("utf-8", "replace")) for piece in pieces)
    offsets = tuple(accumulate((len(piece) + 1 for piece in pieces[:-1]), initial=start))[: len(pieces)]
    return Window(path, size, start, lines, offsets, start + len(data), anchor)
