"""T-CERTIFY (Feng et al. 2020, Algorithm 2), as published."""

from __future__ import annotations

import numpy as np
from scipy.special import betainc, gammaln, ndtri, xlog1py, xlogy

from rsctl.certificates.bounds import gap_radius, gaussian_radius, one_minus_lower, slack, upper
from rsctl.certificates.protocol import (
    Certified,
    CountTable,
    Floats,
    Guarantee,
    Ints,
    abstain_unless,
    counts_of,
    other_counts,
    require_fixed_gaussian,
    selected_classes,
)

GRID = tuple(share / 10 for share in range(1, 11))
"""α'/α of the paper's experiments; 1 stands for CERTIFY."""


class TCertify:
    """The largest σ/2 (Φ⁻¹(p̲_A) − Φ⁻¹(p̄_B)) over a grid of α', p̲_A at α' and p̄_B at α − α' by equation 14.

    p̄_B is where Σ_{c≠A} P(Bin(n, p) ≤ N_c) falls to α − α', a union bound over all other classes. A
    radius counts only where p̲_A > ½; α' = α gives CERTIFY's.

    Theorem 1 of the paper covers one α' that was fixed beforehand. The maximum over the grid is over data:
    what can be proved is that the events "p̲_A fails at α'" are nested, and so are those of p̄_B, hence failure
    with probability at most α'_max + (α − α'_min) = 1.9 α, below the 2 α of the label. In exact enumeration
    (3 and 4 classes, n up to 80) none was found above α, which is reached by its CERTIFY member. `runner-up`
    is proved at α and never uses a looser p̄_B.
    """

    name = "t-certify"
    title = "T-CERTIFY"
    citation = "Feng, Wu, Chen, Zhang, Ning 2020, equation 14 and Algorithm 2"
    guarantee = Guarantee(
        "probabilistic",
        "the smoothed classifier g",
        times_alpha=2,
        remark="no failure rate above alpha is known, but no proof either",
    )
    norm = "l2"
    k = 1
    about = (
        "Bounds the selected class from below and the strongest other one from above by a union over all "
        "other classes, and takes the best of ten ways to share α. The best is chosen on the counts that it "
        "is then applied to, which the published proof doesn't cover: failure with probability 2α is what is "
        "proved."
    )
    use_when = "To reproduce the tables of ADRE; `runner-up` is proved at α, and its bound on the other class is never looser."

    def certify(self, table: CountTable, alpha: float) -> Certified:
        """Radii of (N, C) counts at the paper's `alpha` per image; abstains where p̲_A ≤ ½ at every α'."""
        alpha = require_fixed_gaussian(self.name, table, alpha)
        chosen = selected_classes(table)
        successes = counts_of(chosen, table.counts)
        others = -np.sort(-other_counts(chosen, table.counts), axis=1)[:, :-1]
        q = one_minus_lower(successes, table.n, alpha)
        radius = gaussian_radius(q, table.sigma)
        for share in GRID[:-1] if others.shape[1] else ():
            q = one_minus_lower(successes, table.n, share * alpha)
            rows = np.flatnonzero(q < 0.5)
            p_b = union_upper(others[rows], table.n[rows], (1 - share) * alpha)
            radius[rows] = np.maximum(radius[rows], gap_radius(q[rows], p_b, table.sigma))
        return abstain_unless(radius > 0, chosen, radius, successes == table.n)


def union_upper(others: Ints, n: Ints, beta: float) -> Floats:
    """(M,): p̄_B of equation 14, where S(p) = Σ_c P(Bin(n, p) ≤ N_c) falls to `beta`. Never rounded down.

    `others` is (M, C − 1), each row in descending order, its largest below n/2. Newton's method on Φ⁻¹(S(p)),
    which is close to a straight line; what it returns is checked to satisfy the definition.
    """
    largest, target = others[:, 0], ndtri(beta)
    # Wilson's score bound is near the answer for one class, which is what most images have.
    p = np.minimum((largest + target**2 / 2 - target * np.sqrt(largest + target**2 / 4)) / n, 0.9)
    rows = np.arange(len(p))
    for _ in range(10):
        total, slope = union_tail(p[rows], others[rows], n[rows])
        z = ndtri(np.clip(total, 1e-290, 0.999))
        step = (z - target) * np.exp(-z * z / 2) / np.sqrt(2 * np.pi) / np.maximum(slope, 1e-290)
        # Not below the frequency, where S exceeds ½, and not far beyond what one step can know.
        p[rows] = np.clip(p[rows] + step, (largest / n)[rows] + 1e-16, np.minimum(3 * p[rows], 0.999))
        # Convergence is quadratic: after such a step the next would be below the last digit.
        rows = rows[np.abs(step) > 1e-8 * p[rows]]
        if not rows.size:
            break
    # 1 − p inside the tails is rounded to 1e-16.
    p = p * (1 + slack(n)) + 3e-16
    holds = union_tail(p, others, n)[0] <= beta
    return np.where(holds, p, upper(largest, n, beta / others.shape[1]))


def union_tail(p: Floats, others: Ints, n: Ints) -> tuple[Floats, Floats]:
    """(S(p), −S'(p)), each (M,), for rows of counts in descending order; S is never below the exact sum by more than 1e-13 of it.

    Beyond the first classes the terms are negligible for most images: all that remain are then counted as
    one bound, their number times the largest of them.
    """
    total, slope = np.zeros(len(p)), np.zeros(len(p))
    rows = np.arange(len(p))
    for column in range(others.shape[1]):
        k, m, at = others[rows, column].astype(np.float64), n[rows].astype(np.float64), p[rows]
        remaining = others.shape[1] - column
        term = betainc(m - k, k + 1, 1 - at)
        log_density = (
            gammaln(m + 1) - gammaln(k + 1) - gammaln(m - k) + xlogy(k, at) + xlog1py(m - k - 1, -at)
        )
        # Classes without a count are all alike; those far below the largest don't matter.
        last = (k == 0) | (remaining * term < 1e-14 * total[rows])
        times = np.where(last, remaining, 1)
        total[rows] += times * term
        slope[rows] += times * np.exp(log_density)
        rows = rows[~last]
        if not rows.size:
            break
    return total, slope


CERTIFICATE = TCertify()
