"""One-sided Clopper–Pearson bounds in float64, accurate in both tails and rounded to the safe side."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betainccinv, betaincinv, ndtri

from rsctl.certificates.protocol import Floats


def lower(k: ArrayLike, n: ArrayLike, alpha: ArrayLike) -> Floats:
    """p̲ with P(Bin(n, p̲) ≥ k) = alpha (Clopper, Pearson 1934); 0 where k = 0. Never rounded up. Shapes broadcast."""
    k, n, alpha = _broadcast(k, n, alpha)
    p = betaincinv(np.maximum(k, 1), n - np.maximum(k, 1) + 1, alpha)
    # Full counts have the closed form α^{1/n}, which the inversion doesn't reach to the last digits.
    p = np.where(k == n, np.exp(np.log(alpha) / np.maximum(n, 1)), p)
    return np.where(k > 0, p * (1 - slack(n)), 0.0)


def one_minus_lower(k: ArrayLike, n: ArrayLike, alpha: ArrayLike) -> Floats:
    """1 − p̲ without cancellation; 1 where k = 0, 1 − α^{1/n} where k = n. Never rounded down. Shapes broadcast."""
    k, n, alpha = _broadcast(k, n, alpha)
    # Through α itself: 1 − α has lost the digits of a small α.
    q = _inverse(np.maximum(k, 1), n, alpha)
    q = np.where(k == n, -np.expm1(np.log(alpha) / np.maximum(n, 1)), q)
    return np.where(k > 0, np.minimum(q * (1 + slack(n)), 1.0), 1.0)


def _inverse(k: Floats, n: Floats, alpha: Floats) -> Floats:
    """The inversion behind `one_minus_lower`, each k looked up once per n and alpha: it costs 2 µs, and runs share most k."""
    if k.size >= 256 and (n == n.flat[0]).all():
        size, whole = int(n.flat[0]), k.astype(np.int64)
        alphas, which = _distinct(alpha)
        if size <= _LARGEST and len(alphas) <= _MOST_ALPHAS and (whole == k).all() and whole.max() <= size:
            found = np.empty(k.shape)
            for number, one in enumerate(alphas):
                mine = which == number
                known, wanted = _known(size, one), whole[mine]
                fresh = np.unique(wanted[np.isnan(known[wanted])])
                known[fresh] = betainccinv(size - fresh + 1.0, fresh.astype(np.float64), one)
                found[mine] = known[wanted]
            return found
    return np.asarray(betainccinv(n - k + 1, k, alpha), np.float64)


_MOST_ALPHAS = 32
_LARGEST = 1 << 17
"""The cache is at most 2 · 32 arrays of so many numbers: 64 MB."""


def _distinct(alpha: Floats) -> tuple[list[float], NDArray[np.int64]]:
    """The values that there are, and which of them each element is."""
    if (alpha == alpha.flat[0]).all():
        return [float(alpha.flat[0])], np.zeros(alpha.shape, np.int64)
    values, which = np.unique(alpha, return_inverse=True)
    return values.tolist(), which.reshape(alpha.shape)


@lru_cache(maxsize=2 * _MOST_ALPHAS)
def _known(n: int, alpha: float) -> Floats:
    """(n + 1,): the inversion by k, NaN where nobody has asked yet."""
    return np.full(n + 1, np.nan)


def upper(k: ArrayLike, n: ArrayLike, alpha: ArrayLike) -> Floats:
    """p̄ with P(Bin(n, p̄) ≤ k) = alpha; 1 where k = n. Never rounded down. Shapes broadcast."""
    return one_minus_lower(np.asarray(n) - np.asarray(k), n, alpha)


def gaussian_radius(one_minus_p: ArrayLike, sigma: float) -> Floats:
    """σ Φ⁻¹(p) from 1 − p: the ℓ2 radius within which p stays above ½ (Cohen 2019, Theorem 1 with p_B = 1 − p_A)."""
    return np.asarray(-sigma * ndtri(np.asarray(one_minus_p, np.float64)), np.float64)


def gap_radius(one_minus_p_a: ArrayLike, p_b: ArrayLike, sigma: float) -> Floats:
    """σ/2 (Φ⁻¹(p_A) − Φ⁻¹(p_B)) from 1 − p_A and p_B: the ℓ2 radius of Cohen 2019, Theorem 1; ≤ 0 where p_A ≤ p_B."""
    quantiles = ndtri(np.asarray(one_minus_p_a, np.float64)) + ndtri(np.asarray(p_b, np.float64))
    return np.asarray(-sigma / 2 * quantiles, np.float64)


def slack(n: ArrayLike) -> Floats:
    """A relative margin that covers the inversion's own error, measured against 40 digits.

    The inversion is off by up to 2e-15 as a rule, but near k = n by about n · 1e-17 (1e-10 at n = 1e7). The
    margin also covers Φ⁻¹, which then costs a radius less than σ · (1e-12 + n · 4e-17).
    """
    return np.asarray(1e-12 + 4e-17 * np.asarray(n, np.float64))


def _broadcast(k: ArrayLike, n: ArrayLike, alpha: ArrayLike) -> tuple[Floats, Floats, Floats]:
    k, n, alpha = np.broadcast_arrays(
        np.asarray(k, np.float64), np.asarray(n, np.float64), np.asarray(alpha, np.float64)
    )
    return k, n, alpha
