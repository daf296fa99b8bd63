"""Significance tests on the images of two runs, and on the seeds of two methods."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, stdtr, stdtrit

RESAMPLES = 10_000
_DRAWS = 1 << 23
"""Draws of the bootstrap in memory at once."""


@dataclass(frozen=True)
class AtRadius:
    """McNemar's test at one radius."""

    radius: float
    first: float
    second: float
    only_first: int
    """Images that the first certifies at this radius and the second doesn't."""
    only_second: int
    p: float
    p_holm: float
    """Adjusted for all radii of the comparison (Holm 1979)."""


def mcnemar(first: NDArray[Any], second: NDArray[Any], radii: Sequence[float]) -> list[AtRadius]:
    """McNemar's exact test at each radius, from the two runs' scores (N,) (radius, or -1 where wrong).

    Two-sided binomial test of the images that one certifies and the other doesn't (McNemar 1947).
    """
    found = []
    for r in radii:
        mine, theirs = first >= r, second >= r
        b, c = int((mine & ~theirs).sum()), int((theirs & ~mine).sum())
        p = min(1.0, 2 * float(bdtr(min(b, c), b + c, 0.5))) if b + c else 1.0
        found.append((r, float(mine.mean()), float(theirs.mean()), b, c, p))
    adjusted = holm([one[-1] for one in found])
    return [AtRadius(*one, p_holm) for one, p_holm in zip(found, adjusted, strict=True)]


def holm(p: Sequence[float]) -> list[float]:
    """Holm's adjustment (1979): sorted p-values times the number of remaining ones, made monotone, at most 1."""
    order = sorted(range(len(p)), key=lambda i: p[i])
    adjusted = [0.0] * len(p)
    largest = 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(p) - rank) * p[i]))
        adjusted[i] = largest
    return adjusted


def bootstrap(difference: NDArray[np.float64], seed: int) -> tuple[int, tuple[float, float]]:
    """Number of resamples of the images, and the 2.5 % and 97.5 % quantiles of their mean difference."""
    rng = np.random.default_rng(seed)
    count = len(difference)
    # Beyond a hundred million draws the interval's own scatter is far below its width.
    resamples = min(RESAMPLES, max(1000, 100_000_000 // count))
    at_once = max(1, _DRAWS // count)
    means = [
        difference[rng.integers(0, count, (min(at_once, resamples - start), count), dtype=np.int32)].mean(
            axis=1
        )
        for start in range(0, resamples, at_once)
    ]
    low, high = np.quantile(np.concatenate(means), [0.025, 0.975])
    return resamples, (float(low), float(high))


def welch(a: NDArray[np.float64], b: NDArray[np.float64]) -> tuple[float, float, float, float, float, float]:
    """Means, their difference, its 95 % interval and two-sided p (Welch 1947) of two samples of at least two."""
    parts = a.var(ddof=1) / len(a), b.var(ddof=1) / len(b)
    difference, error = float(a.mean() - b.mean()), float(np.sqrt(sum(parts)))
    if error == 0:
        return float(a.mean()), float(b.mean()), difference, difference, difference, float(difference == 0)
    freedom = sum(parts) ** 2 / (parts[0] ** 2 / (len(a) - 1) + parts[1] ** 2 / (len(b) - 1))
    half = error * float(stdtrit(freedom, 0.975))
    p = 2 * float(stdtr(freedom, -abs(difference) / error))
    return float(a.mean()), float(b.mean()), difference, difference - half, difference + half, p
