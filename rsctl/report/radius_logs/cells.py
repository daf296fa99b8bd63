"""The values of a log's columns, from their text."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


class NotALog(Exception):
    """The text isn't such a log, or none of it can be used; the message gives the reason."""


_TENSOR = re.compile(r"tensor\(\[?\s*([^\s\],()]+)\s*\]?(?:,[^()]*)?\)")


def bare(cell: str) -> str:
    """A cell without surrounding spaces and quotes; `tensor([7])`, as torch prints it, becomes the number."""
    cell = cell.strip().strip('"')
    tensor = _TENSOR.fullmatch(cell) if cell.startswith("tensor") else None
    return tensor[1] if tensor else cell


def numbers(column: Sequence[str], name: str) -> NDArray[np.float64]:
    try:
        with np.errstate(over="ignore"):  # too large a number is infinite, and reported as such
            return np.array(column).astype(np.float64)
    except ValueError:
        row, value = next((i, value) for i, value in enumerate(column, 1) if not is_number(value))
        raise NotALog(f"row {row}: its {name}, '{value}', isn't a number") from None


def is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def integers(column: Sequence[str], name: str) -> NDArray[np.int64]:
    values = numbers(column, name)
    wrong = ~(np.isfinite(values) & (values == np.rint(values)) & (np.abs(values) < 2**31))
    if wrong.any():
        row = int(wrong.argmax())
        raise NotALog(f"row {row + 1}: its {name}, '{column[row]}', isn't a whole number of plausible size")
    return values.astype(np.int64)


def seconds_of(column: Sequence[str]) -> tuple[NDArray[np.float64], int]:
    """Times in seconds, NaN where they can't be read, and how many can't."""
    values = np.array([_time(text) for text in column])
    return values, int(np.isnan(values).sum())


def _time(text: str) -> float:
    """`0:00:14.17`, `1 day, 2:03:04` or plain seconds."""
    days, _, clock = text.rpartition(", ")
    try:
        parts = [float(part) for part in clock.split(":")]
        seconds = parts[0] if len(parts) == 1 else 3600 * parts[0] + 60 * parts[1] + parts[2]
        return seconds + 86400 * float(days.split()[0]) if days else seconds
    except (ValueError, IndexError):
        return float("nan")


def said_right(correct: Sequence[str] | None, quirks: list[str]) -> NDArray[np.bool_] | None:
    """True for each row that is right by the column `correct`, (N,); None where it isn't there or can't be read."""
    if correct is None:
        return None
    words = {"true": "1", "false": "0"}
    try:
        stated = np.array([words.get(cell.lower(), cell) for cell in correct]).astype(np.float64)
    except ValueError:
        stated = np.full(len(correct), np.nan)
    if np.isin(stated, (0, 1)).all():
        return np.asarray(stated == 1)
    steps = np.diff(stated, prepend=0)
    if np.isin(steps, (0, 1)).all():
        quirks.append("its column correct is a running total; it is recomputed from predict and label")
        return np.asarray(steps == 1)
    quirks.append("its column correct can't be read; it is recomputed from predict and label")
    return None
