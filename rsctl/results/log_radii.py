"""Radii as they were printed: their rounding, the largest that n and alpha allow, and the counts behind them."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtrik, log_ndtr, ndtr

from rsctl.certificates.bounds import gaussian_radius, one_minus_lower
from rsctl.results.printed import of_numbers
from rsctl.store.imports import Radii

PLAIN = "cohen"
"""The certificate whose largest radius is known: σ Φ⁻¹(α^{1/n})."""
SLACK = 1e-4
"""Relative error near p = 1 of a bound in single precision; one draw of n changes the bound by ten times more."""


def half_units(log: Radii) -> NDArray[np.float64]:
    """Rounding error of each printed radius of a log, (N,)."""
    return of_numbers(log.radius) if log.printed is None else log.printed


def cap(sigma: float, n: int, alpha: float) -> float:
    """The largest radius that n draws can show at alpha: σ Φ⁻¹(α^{1/n})."""
    return float(gaussian_radius(one_minus_lower(n, n, alpha), sigma))


def implied_alpha(largest: float, half: float, sigma: float, n: int) -> tuple[float, float]:
    """The alphas under which n draws reach the printed radius `largest` at most: α = Φ(R/σ)ⁿ at both ends of its rounding.

    `half` is half a unit of its last digit; what single precision adds to it counts too.
    """
    ends = [(largest * (1 + side * SLACK) + side * half) / sigma for side in (-1, 1)]
    low, high = (float(np.exp(n * log_ndtr(end))) for end in ends)
    return low, high


def shortest_between(low: float, high: float) -> float:
    """The number with the fewest digits in [low, high]."""
    for digits in range(1, 17):
        scale = 10.0 ** (digits - 1 - math.floor(math.log10(high)))
        value = math.floor(high * scale) / scale
        if value >= low:
            return float(f"{value:.{digits}g}")
    return high


def p_a_lower(radius: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
    """p̲_A = Φ(R/σ), (N,) float64; NaN where it abstained."""
    return np.where(radius > 0, ndtr(radius / sigma), np.nan)


def p_a_estimate(radius: NDArray[np.float64], sigma: float, n: int, alpha: float) -> NDArray[np.float64]:
    """N_A / n recovered by inverting the Clopper–Pearson bound, (N,) float64; NaN where it abstained.

    P(Bin(n, p̲_A) ≤ N_A − 1) = 1 − α gives N_A; a radius of three digits leaves it uncertain in the third.
    """
    low = p_a_lower(radius, sigma)
    hits = bdtrik(1 - alpha, n, np.where(np.isnan(low), 0.5, low)) + 1
    return np.where(np.isnan(low), np.nan, np.minimum(np.rint(hits) / n, 1.0))
