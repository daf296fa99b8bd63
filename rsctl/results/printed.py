"""Rounding errors of numbers as a log prints them.

The digits of one number don't tell: `{:.3}` prints 0.950 as `0.95`. Those of the column do. Its formats are so many
significant digits or so many decimals, both perhaps without the zeros at the end, and no number of the column has more
of either than the format allows; what is coarser is the safe answer where both fit.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_NUMBER = re.compile(r"[+-]?(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d{1,9}))?")


def half_units(texts: Sequence[str]) -> NDArray[np.float64]:
    """Half a unit of the last digit that the format of a column gives each of its numbers, (N,); 0 for a number that is 0."""
    parts = {text: _parts(text) for text in set(texts)}
    real = [part for part in parts.values() if part is not None]
    digits = max((digits for digits, _, _ in real), default=0)
    decimals = max((decimals for _, decimals, _ in real), default=0)
    halves = {
        text: 0.0 if part is None else 0.5 * 10.0 ** min(max(part[2] - digits + 1, -decimals), 300)
        for text, part in parts.items()
    }
    return np.array([halves[text] for text in texts], np.float64)


def of_numbers(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same for a column without its text, by the shortest digits that give each number."""
    return half_units([repr(value) for value in values.tolist()])


def _parts(text: str) -> tuple[int, int, int] | None:
    """Significant digits, decimals and the power of ten of the first digit; None for 0."""
    match = _NUMBER.fullmatch(text.strip())
    if match is None:
        return None
    whole, fraction, power = match[1], match[2] or "", int(match[3] or 0)
    significant = (whole + fraction).lstrip("0")
    if not significant:
        return None
    leading = len(significant) - len(fraction) - 1 + power
    if "." not in text:
        # Of a whole number (with or without a power) the zeros at the end may be digits or not: they count as none.
        significant = significant.rstrip("0")
    return len(significant), len(fraction) - power, leading
