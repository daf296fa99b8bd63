"""One-sided Clopper–Pearson bounds in float64, accurate in both tails."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import betaincinv, ndtri

from rsctl.certificates.protocol import Floats


def lower(k: ArrayLike, n: ArrayLike, alpha: float) -> Floats:
    """p̲ with P(Bin(n, p) ≥ k) = alpha at p = p̲ (Clopper, Pearson 1934); 0 where k = 0. Shapes broadcast."""
    return 1.0 - one_minus_lower(k, n, alpha)


def one_minus_lower(k: ArrayLike, n: ArrayLike, alpha: float) -> Floats:
    """1 − p̲ without cancellation: betaincinv(n−k+1, k, 1−α); 1 where k = 0, 1 − α^{1/n} where k = n."""
    k, n = np.broadcast_arrays(np.asarray(k, np.float64), np.asarray(n, np.float64))
    inner = (k > 0) & (k < n)
    q = np.ones(k.shape)
    q[inner] = betaincinv(n[inner] - k[inner] + 1, k[inner], 1 - alpha)
    full = (k == n) & (n > 0)
    q[full] = -np.expm1(np.log(alpha) / n[full])
    return q


def upper(k: ArrayLike, n: ArrayLike, alpha: float) -> Floats:
    """p̄ with P(Bin(n, p) ≤ k) = alpha at p = p̄; 1 where k = n."""
    k, n = np.broadcast_arrays(np.asarray(k, np.float64), np.asarray(n, np.float64))
    return one_minus_lower(n - k, n, alpha)


def gaussian_radius(one_minus_p: ArrayLike, sigma: float) -> Floats:
    """σ Φ⁻¹(p) from 1 − p: the ℓ2 radius within which p stays above ½ (Cohen 2019, Theorem 1 with p_B = 1 − p_A)."""
    return np.asarray(-sigma * ndtri(np.asarray(one_minus_p, np.float64)), np.float64)
