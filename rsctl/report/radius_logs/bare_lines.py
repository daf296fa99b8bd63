"""Per-image results in lines without a header: counts with labels, or the reason why they can't be read."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_NUMBERS = re.compile(r"\s*[-+]?\d[\d.eE+-]*(?:[ \t]+[-+]?\d[\d.eE+-]*)+\s*")
LEAST_CLASSES = 2


def is_bare(line: str) -> bool:
    """Return whether a line consists of two or more numbers alone."""
    return _NUMBERS.fullmatch(line) is not None


def histograms(lines: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    """Counts (N, C) and labels (N,) of lines `count of class 0 … count of class C − 1, label`; None for other lines.

    They are known by their sums: each line counts equally many draws.
    """
    try:
        rows = np.array([[int(part) for part in line.split()] for line in lines], np.int64)
    except (ValueError, OverflowError):
        return None
    if rows.ndim != 2 or rows.shape[1] <= LEAST_CLASSES or (rows < 0).any():
        return None
    counts, label = rows[:, :-1], rows[:, -1]
    sums = np.unique(counts.sum(axis=1))
    if len(sums) != 1 or not sums[0] or (label >= counts.shape[1]).any():
        return None
    return counts, label


def what_is_missing(lines: Sequence[str]) -> str:
    """The reason why such lines are not a log, without a full stop."""
    if _counts_up(lines):
        return (
            "it holds lines of an index and numbers, such as radii, alone; which images are classified rightly isn't in it. Give it a first line "
            "'idx label predict radius', tab-separated, and each image's label and predicted class"
        )
    return "its lines are numbers without a first line that names their columns"


def _counts_up(lines: Sequence[str]) -> bool:
    """Return whether the lines begin with positions of images."""
    first = [line.split()[0] for line in lines]
    if not all(text.isdecimal() and len(text) < 19 for text in first):
        return False
    return all(int(one) < int(other) for one, other in itertools.pairwise(first))
