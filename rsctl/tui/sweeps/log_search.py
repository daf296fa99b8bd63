"""Searches a log for a text, a few megabytes at a time."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from rsctl.tui.sweeps.log_files import size_of

_CHUNK = 4 * 1024 * 1024


def find_text(path: Path, text: str, byte: int, forward: bool) -> int | None:
    """Finds the start of the next line from `byte` on that contains `text`, ignoring ASCII case; None if there is none.

    Backwards, it is the last line that ends before `byte`.
    """
    wanted = text.encode().lower()
    size, step = size_of(path), _CHUNK - len(wanted)
    if not wanted or step <= 0:
        return None
    with open(path, "rb") as file:
        starts = (
            range(max(0, byte), size, step)
            if forward
            else range(max(0, min(byte, size) - step), -step, -step)
        )
        for start in starts:
            # Chunks overlap by the length of the text, so that none is cut in two.
            begin, end = max(0, start), min(start + _CHUNK, size if forward else byte)
            file.seek(begin)
            data = file.read(max(0, end - begin)).lower()
            found = data.find(wanted) if forward else data.rfind(wanted)
            if found >= 0:
                return _line_start(file, begin + found)
    return None


def _line_start(file: BinaryIO, byte: int) -> int:
    """The first byte of the line that this byte is in."""
    while byte > 0:
        start = max(0, byte - 65536)
        file.seek(start)
        newline = file.read(byte - start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        byte = start
    return 0
