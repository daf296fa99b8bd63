"""CERTIFY with the gradient's norm as well (second-order smoothing)."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr, ndtri

from rsctl.certificates.bounds import one_minus_lower
from rsctl.certificates.gradient_norm import bounded_norm, density, expected_norm
from rsctl.certificates.protocol import (
    Certified,
    CountTable,
    Floats,
    Guarantee,
    abstain_unless,
    counts_of,
    require_fixed_gaussian,
    selected_classes,
)
from rsctl.certificates.runner_up import SHARES, wilson
from rsctl.certificates.table import GradientSums
from rsctl.errors import RefusedError

TYPICAL = 0.75
"""Share of the largest norm that p allows, which a network's gradient is expected to have when alpha is split."""


class SecondOrder:
    """The largest R at which A keeps ½ under every shift up to R, given p ≥ p̲ and σ‖∇p‖ ≤ m̄.

    A shift by ρσ multiplies densities by L(t) = exp(ρt − ρ²/2), where t ~ N(0, 1) is the noise along it. With
    h̄(t) = P(f = A | t), for every λ, κ ≥ 0: E[h̄L] ≥ λ E[h̄] + κ E[h̄t] − E[(λ + κt − L)₊] ≥ λp̲ − κm̄ − E[(λ + κt − L)₊],
    for any p ≥ p̲ and any gradient of norm at most m̄. Take a < b with Φ(b) − Φ(a) ≤ p̲ and φ(b) − φ(a) ≥ m̄, and for
    λ + κt the chord of L through a and b: L is convex, so that the positive part lives on (a, b), and

    E[h̄L] ≥ V(ρ) + λ(p̲ − Φ(b) + Φ(a)) + κ(φ(b) − φ(a) − m̄) ≥ V(ρ) = Φ(b − ρ) − Φ(a − ρ).

    κ ≥ 0, for L increases; λ ≥ 0, for a < 0 < b puts the chord above L at 0. φ(b) ≥ φ(a) makes |b| ≤ |a|, so V falls in
    ρ ≥ 0, and V(ρ) ≥ ½ proves every smaller shift too. Both inequalities are checked on the numbers a, b that are used.
    A gradient that may be as large as p̲ allows, m̄ ≥ φ(Φ⁻¹(p̲)), is CERTIFY: a = −∞.

    p̲ has a share of α, the gradient (`rsctl.certificates.gradient_norm`) the rest, and needs q̄ = 1 − p̲ only where p̲ holds.
    The share is read off the selection draws alone; where they promise no gain it is 1, and the radius is CERTIFY's.
    """

    name = "second-order"
    title = "Second-order smoothing"
    citation = (
        "Levine, Kumar, Goldstein, Feizi: Tight Second-Order Certificates for Randomized Smoothing, 2020 (arXiv 2010.10549); "
        "Mohapatra et al.: Higher-Order Certification for Randomized Smoothing, NeurIPS 2020"
    )
    guarantee = Guarantee("probabilistic", "the smoothed classifier g")
    norm = "l2"
    k = 1
    special = True
    about = (
        "CERTIFY with one number more: an upper bound on the gradient's norm of the smoothed classifier, from "
        "sums of the noise under which f leaves the class. A smooth classifier whose gradient is small keeps "
        "its class further than its probability alone can show."
    )
    use_when = "With `gradient = true` and some 10,000 draws or more, where two classes share nearly all draws; where more do, `runner-up` certifies more."
    example = {"certification.gradient": True, "certification.n": 10_000}

    def certify(self, table: CountTable, alpha: float) -> Certified:
        """Radii at failure probability `alpha` per image; abstains where p̲ ≤ ½.

        Raises RefusedError for a table without sums of its noise.
        """
        alpha = require_fixed_gaussian(self.name, table, alpha)
        if table.gradient_sums is None:
            raise RefusedError(
                f"{self.name} needs the sums of the noise that left the class; this table has none. "
                "Sample with certification.gradient = true, or use 'cohen' or 'runner-up'."
            )
        if table.dimension < 1:
            raise RefusedError(
                f"{self.name} needs the number of coordinates of an input; this table doesn't say it."
            )
        chosen = selected_classes(table)
        successes = counts_of(chosen, table.counts)
        share = split(table, table.gradient_sums, alpha)
        q = one_minus_lower(successes, table.n, share * alpha)
        m = bounded_norm(table.gradient_sums, q, (1 - share) * alpha, table.dimension)
        radius = table.sigma * certified_shift(q, m)
        return abstain_unless(q < 0.5, chosen, radius, successes == table.n)


def certified_shift(q: Floats, m: Floats) -> Floats:
    """(N,): the ρ, in units of σ, up to which p ≥ 1 − q and a gradient norm of at most m keep the class at ½; 0 where q ≥ ½."""
    certify = np.where(q < 0.5, -ndtri(q), 0.0)
    found = certify.copy()
    rows = np.flatnonzero((q < 0.5) & (m < density(certify)))
    if not rows.size:
        return found
    # The tails beyond a and b together: a little more than q, to make up for their rounding.
    tails, wanted = q[rows] * (1 + 1e-12), m[rows] * (1 + 1e-12) + 1e-13 * density(certify[rows])
    low, high = np.zeros(len(rows)), np.full(len(rows), 0.5)
    for _ in range(50):
        left = (low + high) / 2
        enough = density(ndtri((1 - left) * tails)) - density(ndtri(left * tails)) >= wanted
        low, high = np.where(enough, left, low), np.where(enough, high, left)
    a, b = ndtri(low * tails), -ndtri((1 - low) * tails)
    # 1e-14 of φ(b) covers what the two densities err by.
    proved = (a < 0) & (b > 0) & (density(b) * (1 - 1e-14) - density(a) * (1 + 1e-14) >= m[rows])
    near, far = np.zeros(len(rows)), np.maximum(b, 0)
    for _ in range(50):
        middle = (near + far) / 2
        kept = ndtr(b - middle) - ndtr(a - middle) >= 0.5 + 1e-14
        near, far = np.where(kept, middle, near), np.where(kept, far, middle)
    # Where rounding hides the difference, CERTIFY's own radius stands: it follows from p̲ alone.
    found[rows] = np.maximum(certify[rows], np.where(proved, near * (1 - 1e-14), 0.0))
    return found


def split(table: CountTable, sums: GradientSums, alpha: float) -> Floats:
    """(N,): the share of alpha for p̲ that promises the largest radius at the frequencies of the selection draws.

    It supposes a gradient of `TYPICAL` size: whatever is chosen, the level holds.
    """
    drawn = table.selection_counts.sum(axis=1)
    leader = table.selection_counts.max(axis=1)
    (cases, which) = np.unique(np.stack([drawn, leader, table.n]), axis=1, return_inverse=True)
    drawn, leader, n = cases
    p = (leader + 0.5) / (drawn + 1)
    shares = np.repeat(SHARES, len(p))
    p, n = np.tile(p, len(SHARES)), np.tile(n, len(SHARES))
    q = 1 - wilson(p, n, ndtri(alpha * shares))
    m = expected_norm(sums.draws, TYPICAL * density(ndtri(1 - p)), q, (1 - shares) * alpha, table.dimension)
    promised = certified_shift(q, m).reshape(len(SHARES), -1)
    # The last of equal ones is CERTIFY.
    best = len(SHARES) - 1 - np.argmax(promised[::-1], axis=0)
    return np.asarray(np.array(SHARES)[best][which.reshape(-1)], np.float64)


CERTIFICATE = SecondOrder()
