"""Clopper–Pearson intervals of shares of images."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

CONFIDENCE = 0.95


def clopper_pearson(successes: Any, n: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Two-sided intervals, at `CONFIDENCE`, of the share of successes among n images; (0, 1) without images."""
    k, half = np.asarray(successes, np.float64), (1 - CONFIDENCE) / 2
    low = np.where(k > 0, betaincinv(np.maximum(k, 1), n - k + 1, half), 0.0)
    high = np.where(k < n, betaincinv(k + 1, np.maximum(n - k, 1), 1 - half), 1.0)
    return low, high
