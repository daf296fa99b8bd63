"""A confidence bound on the gradient of the smoothed classifier, from two halves of the estimation draws."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri

from rsctl.certificates.protocol import Floats
from rsctl.certificates.table import QUANTUM, GradientSums

GOLDEN = (5**0.5 - 1) / 2


def bounded_norm(sums: GradientSums, q: Floats, alpha: Floats, dimension: int) -> Floats:
    """(N,): m̄ with ‖μ‖ ≤ m̄, μ = E[u·1{f = A}] and u = ε/σ ~ N(0, I): σ times the gradient's ℓ2 norm.

    Holds with probability 1 − alpha wherever P(f ≠ A) ≤ q; inf where alpha is 0 or q ≥ ½.

    Let w = 1{f ≠ A}. As E u = 0, μ is −E[u·w], and w is rare. X̄, Ȳ and Z̄ are the means of −u·w over the first half,
    the second half (n₁ and n₂ draws), and both. Three events, of probability 1 − alpha/3 each, with s(n) = `deviation`:

    1. Given the second half, e = Ȳ/‖Ȳ‖ is fixed, and X̄·e the mean of n₁ numbers (e·u)w in one dimension:
       μ·e ≤ X̄·e + s(n₁), so μ·Ȳ ≤ X̄·Ȳ + ‖Ȳ‖ s(n₁).
    2. Likewise given the first half: μ·X̄ ≤ X̄·Ȳ + ‖X̄‖ s(n₂).
    3. ê = μ/‖μ‖ is fixed before any draw: ê·Z̄ ≥ ‖μ‖ − s(n).

    Weighing 1 by n₂/n and 2 by n₁/n gives μ·Z̄ ≤ D, and 3 gives μ·Z̄ ≥ ‖μ‖² − s(n)‖μ‖. So ‖μ‖ is at most the
    larger root of m² − s(n) m = D. Where D < −s²/4 the three can't hold together, and any number will do.
    """
    n1, n2 = np.maximum(sums.draws, 1.0)  # of one block a half is empty, and nothing is claimed
    first, both, second = sums.products.T / np.array([[n1 * n1], [n1 * n2], [n2 * n2]])
    spread = 0.51 * QUANTUM * np.sqrt(dimension) * sums.misses.T / np.array([[n1], [n2]])
    return _root(np.array(sums.draws), first, both, second, spread, q, alpha, dimension)


def expected_norm(draws: tuple[int, int], m: Floats, q: Floats, alpha: Floats, dimension: int) -> Floats:
    """(N,): what `bounded_norm` comes to on average, for gradients of norm m; used to plan, never to certify."""
    first, second = (m**2 + dimension * q / max(n, 1) for n in draws)
    return _root(np.array(draws), first, m**2, second, np.zeros((2, len(q))), q, alpha, dimension)


def _root(
    draws: NDArray[np.int64], first: Floats, both: Floats, second: Floats, spread: Floats, q: Floats, alpha: Floats, dimension: int
) -> Floats:  # fmt: skip
    """The bound from ‖X̄‖², X̄·Ȳ, ‖Ȳ‖² and the rounding (2, N) of the sums behind them, in ℓ2 per mean."""
    found = np.full(len(q), np.inf)
    known = (alpha > 0) & (q < 0.5) & (draws.min() > 0)
    if not known.any():
        return found
    (n1, n2), n = draws, draws.sum()
    x, y = (
        np.sqrt(square[known]) * (1 + dimension * 2e-16) + off
        for square, off in zip((first, second), spread[:, known], strict=True)
    )
    # The noise was rounded to whole quanta, and a dot product in float64 errs by d · 2^-53 of its norms.
    product = both[known] + spread[0, known] * y + spread[1, known] * x + x * y * (dimension + 8) * 2.0**-52
    q, alpha = q[known], alpha[known] / 3
    s1, s2, s = deviation(q, np.array([[n1], [n2], [n]]), alpha)
    bound = product + (n2 * y * s1 + n1 * x * s2) / n
    found[known] = (s + np.sqrt(s * s + 4 * np.maximum(bound, 0))) / 2 * (1 + 1e-12)
    return found


def deviation(q: Floats, n: ArrayLike, alpha: Floats) -> Floats:
    """Shapes broadcast: s such that a mean T̄ of n draws of T = g·w, g ~ N(0, 1), has E T − T̄ ≤ s with probability 1 − alpha.

    w in {0, 1} may depend on g and on anything else that is drawn, as long as P(w = 1) ≤ q, 0 < q < ½. By symmetry it
    bounds T̄ − E T too. With ψ(x) = eˣ − 1 − x ≥ 0, for every λ > 0 and θ ≥ 0:

    E exp(−λ(T − E T)) ≤ exp(E[w ψ(−λg)]),   E[w ψ(−λg)] ≤ θ q + E[(ψ(−λg) − θ)₊],

    the first since 1 + x ≤ eˣ, the second since w(ψ − θ) ≤ (ψ − θ)₊. By Chernoff's bound
    s = (θ q + E[(ψ(−λg) − θ)₊] + ln(1/alpha)/n)/λ holds for each λ and θ; the least one is looked for.

    q may be a bound q̄ from the same draws, and λ, θ be chosen by it. The least s at the true q is one fixed number,
    whose event doesn't know q̄; wherever q ≤ q̄, it is at most s(λ, θ, q) ≤ s(λ, θ, q̄) for the chosen λ and θ.
    """
    cost = -np.log(alpha) / np.asarray(n, np.float64)
    q, cost = np.broadcast_arrays(q, cost)
    shape = q.shape
    # Runs of a fixed n share most q.
    (q, cost), which = np.unique(np.stack([q.ravel(), cost.ravel()]), axis=1, return_inverse=True)
    edge = -ndtri(q / 2)
    variance = q + 2 * edge * density(edge)
    # The best λ of a quadratic ψ; the true ψ grows faster, so the best one is smaller.
    start = np.log(np.sqrt(2 * cost / variance))
    low, high = start - 3.0, start + 0.2
    for _ in range(14):
        left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
        better = _chernoff(np.exp(left), q, cost) < _chernoff(np.exp(right), q, cost)
        low, high = np.where(better, low, left), np.where(better, right, high)
    return np.asarray(_chernoff(np.exp((low + high) / 2), q, cost)[which.reshape(shape)])


def _chernoff(rate: Floats, q: Floats, cost: Floats) -> Floats:
    """s at λ = `rate`, with the θ that is nearly best: the one that ψ(−λg) exceeds with probability q."""
    # {ψ(−λg) > θ} is {g < −a or g > b} with a ≤ b, so that q lies between Φ(−a) and 2Φ(−a).
    low, high = -ndtri(q), -ndtri(q / 2)
    for _ in range(10):
        a = (low + high) / 2
        b = _other_end(rate * a) / rate
        many = ndtr(-a) + ndtr(-b) > q
        low, high = np.where(many, a, low), np.where(many, high, a)
    a = (low + high) / 2
    b = _other_end(rate * a) / rate
    theta = np.expm1(rate * a) - rate * a
    grown = np.exp(rate**2 / 2)
    terms = (
        theta * q,
        grown * ndtr(rate - a),
        -(1 + theta) * ndtr(-a),
        -rate * density(a),
        grown * ndtr(-rate - b),
        -(1 + theta) * ndtr(-b),
        rate * density(b),
    )
    # What cancels leaves the rounding of the terms. Where b misses the end that belongs to a by δ, it costs δ².
    exponent = np.sum(terms, axis=0) + 1e-14 * np.sum(np.abs(terms), axis=0)
    return np.asarray((exponent * (1 + 1e-8) + cost) / rate * (1 + 1e-12))


def _other_end(y: Floats) -> Floats:
    """z > 0 with ψ(−z) = ψ(y), for y > 0, by Newton's steps: ψ is convex, so they come down to z from above."""
    goal = np.expm1(y) - y
    z = y * (1 + y / 3)
    for _ in range(4):
        z = z - (np.expm1(-z) + z - goal) / -np.expm1(-z)
    return np.asarray(z)


def density(x: Floats) -> Floats:
    """φ(x) of the standard normal."""
    return np.asarray(np.exp(-x * x / 2) / np.sqrt(2 * np.pi))
