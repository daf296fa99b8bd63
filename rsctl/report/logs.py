"""The per-image logs of Cohen's code and its descendants: tab-separated `idx label predict radius correct time`.

What is odd about such files is handled here and told: radii of three significant digits (which may be rounded up),
times as `0:00:14.17` or as seconds, files with a header alone, a last line that was cut off, a `correct` column
that is a running total (it is always recomputed as predict = label), further columns, any subset and order.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rsctl.store.imports import Radii
from rsctl.words import counted

HEADER = ("idx", "label", "predict", "radius", "correct", "time")
_NEEDED = HEADER[:4]


class NotALog(Exception):
    """The text isn't such a log, or nothing of it can be used; the message says why."""


@dataclass(frozen=True)
class ReadLog:
    """A log as it was read."""

    radii: Radii
    """In ascending order of position, each image once."""
    quirks: list[str]
    """What was odd and harmless."""
    losses: list[str]
    """What was left out: readers of its numbers should know."""


def parse_log(text: str) -> ReadLog:
    """Read a log; raises NotALog with the reason."""
    lines = text.split("\n")
    cut = lines.pop() if lines else ""
    header = [name.strip() for name in (lines[0] if lines else cut).rstrip("\r").split("\t")]
    missing = [name for name in _NEEDED if name not in header]
    if missing:
        raise NotALog(
            f"its first line has no column {', '.join(missing)}; a log of certified radii begins with '{' '.join(HEADER)}'"
        )
    rows = [line.rstrip("\r").split("\t") for line in lines[1:] if line.strip()]
    quirks: list[str] = []
    losses: list[str] = []
    last = cut.rstrip("\r").split("\t")
    if lines and cut.strip():
        # Without its newline even a full line may end inside its last value; in a time that does no harm.
        if len(last) == len(header) and header[-1] == "time" and _reads(last, header):
            rows.append(last)
        else:
            losses.append("the last line was cut off and is left out")
    elif rows and (len(rows[-1]) < len(header) or not _reads(rows[-1], header)):
        last = rows.pop()
        losses.append(
            f"the last line {'was cut off' if len(last) < len(header) else 'holds no numbers'} and is left out"
        )
    repeated = sum(row == header for row in rows)
    if repeated:
        quirks.append(f"its header comes {repeated + 1} times")
        rows = [row for row in rows if row != header]
    if not rows:
        raise NotALog("it holds a header and no rows")
    columns = _columns(rows, header)
    index, label, predicted = (_integers(columns[name], name) for name in ("idx", "label", "predict"))
    radius = _numbers(columns["radius"], "radius")
    _check(index, label, predicted, radius)
    seconds, unread = _seconds(columns["time"]) if "time" in columns else (np.full(len(rows), np.nan), 0)
    if unread:
        quirks.append(f"{counted(unread, 'time')} can't be read")
    if "correct" in columns:
        quirks += _about_correct(columns["correct"], predicted == label)
    extra = [name for name in header if name not in HEADER]
    if extra:
        quirks.append(f"further columns are left out: {', '.join(extra)}")
    if (np.diff(index) < 0).any():
        quirks.append("its rows aren't in the order of the images")
    radius = np.where(predicted == -1, 0.0, radius)
    radii = Radii(index, label.astype(np.int32), predicted.astype(np.int32), radius, seconds)
    return ReadLog(_once(radii, losses), quirks, losses)


def _columns(rows: list[list[str]], header: list[str]) -> dict[str, Sequence[str]]:
    lengths = {len(row) for row in rows}
    if lengths != {len(header)}:
        wrong = next(i for i, row in enumerate(rows) if len(row) != len(header))
        raise NotALog(f"row {wrong + 1} has {len(rows[wrong])} columns, its header {len(header)}")
    return dict(zip(header, zip(*rows, strict=True), strict=True))


def _reads(row: list[str], header: list[str]) -> bool:
    """Whether a whole row can be used."""
    return len(row) == len(header) and all(_is_number(row[header.index(name)]) for name in _NEEDED)


def _numbers(column: Sequence[str], name: str) -> NDArray[np.float64]:
    try:
        return np.array(column).astype(np.float64)
    except ValueError:
        row, value = next((i, value) for i, value in enumerate(column, 1) if not _is_number(value))
        raise NotALog(f"row {row}: its {name}, '{value}', isn't a number") from None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _integers(column: Sequence[str], name: str) -> NDArray[np.int64]:
    values = _numbers(column, name)
    if not (
        np.isfinite(values).all() and (values == np.rint(values)).all() and (np.abs(values) < 2**31).all()
    ):
        raise NotALog(f"column {name} holds a value that isn't a whole number of usual size")
    return values.astype(np.int64)


def _check(index: NDArray[Any], label: NDArray[Any], predicted: NDArray[Any], radius: NDArray[Any]) -> None:
    wrong = {
        "idx": index < 0,
        "label": label < 0,
        "predict": predicted < -1,
        "radius": ~np.isfinite(radius) | (radius < 0),
    }
    for name, bad in wrong.items():
        if bad.any():
            raise NotALog(f"row {int(bad.argmax()) + 1} has an impossible {name}")


def _seconds(column: Sequence[str]) -> tuple[NDArray[np.float64], int]:
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


def _about_correct(column: Sequence[str], correct: NDArray[np.bool_]) -> list[str]:
    try:
        stated = np.array(column).astype(np.float64)
    except ValueError:
        return ["its column correct can't be read; it is recomputed from predict and label"]
    wrong = int((stated != correct).sum())
    if not wrong:
        return []
    if (stated == np.cumsum(correct)).all():
        return ["its column correct is a running total; it is recomputed from predict and label"]
    return [
        f"its column correct is wrong in {counted(wrong, 'row')}; it is recomputed from predict and label"
    ]


def _once(radii: Radii, losses: list[str]) -> Radii:
    """Each image once, ascending; refuses two different results for one image."""
    positions, first, which = np.unique(radii.index, return_index=True, return_inverse=True)
    kept = radii.take(first)
    if len(positions) < len(radii):
        again = kept.take(which)
        for name in ("label", "predicted", "radius"):
            differ = getattr(again, name) != getattr(radii, name)
            if differ.any():
                raise NotALog(
                    f"image {radii.index[differ.argmax()]} is in it twice, with another {name}: two runs in one file"
                )
        losses.append(f"left out: {counted(len(radii) - len(positions), 'row')} of an image that came before")
    return kept


def rounded(radius: NDArray[np.float64]) -> bool:
    """Whether all radii have at most three significant digits, as `{:.3}` prints them."""
    return all(float(f"{value:.3g}") == value for value in np.unique(radius).tolist())


def log_text(rows: Iterable[tuple[int, int, int, float, float]]) -> str:
    """Rows of position, label, predicted, radius and seconds as such a log, radii in full.

    A radius of three digits would be rounded up half of the time; every reader of these logs takes more digits.
    """
    text = io.StringIO()
    text.write("\t".join(HEADER) + "\n")
    for index, label, predicted, radius, seconds in rows:
        took = timedelta(seconds=seconds) if seconds == seconds else timedelta(0)
        text.write(f"{index}\t{label}\t{predicted}\t{radius!r}\t{int(predicted == label)}\t{took}\n")
    return text.getvalue()
