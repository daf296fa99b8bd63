"""Both bounds from one table: p̲_A of the chosen class, p̄_B from the largest other count."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri

from rsctl.certificates.bounds import gap_radius, one_minus_lower, upper
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

SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Shares of alpha that p̲_A may get. With 1 it is CERTIFY: p̄_B = 1 − p̲_A and nothing left for another bound."""


class RunnerUp:
    """R = σ/2 (Φ⁻¹(p̲_A) − Φ⁻¹(p̄_B)), p̄_B from the largest non-A count at its own share of α, without a union bound.

    Let c* be the class other than A with the highest probability. The largest other count N₍₂₎ is at least
    N_{c*}, so p̄_B = up(N₍₂₎) < p_{c*} needs up(N_{c*}) < p_{c*}: one Clopper–Pearson bound that fails, whatever
    the number of classes. On p̲_A ≤ p_A also 1 − p̲_A bounds p_B, at no cost. Whenever p̲_A > p̄_B, class A is
    the top class and Cohen's Theorem 1 gives the radius, above ½ or not.

    The split of α is read off the selection draws alone, so it is fixed before the estimation draws: the
    level is α exactly, where the best split on the estimation counts would have no such proof.
    """

    name = "runner-up"
    title = "Runner-up bound"
    citation = "Cohen, Rosenfeld, Kolter 2019, Theorem 1; p̄_B from the largest other count"
    guarantee = Guarantee("probabilistic", "the smoothed classifier g")
    norm = "l2"
    k = 1
    about = (
        "Bounds the selected class's probability from below and that of the strongest other class from above, "
        "and certifies half the difference of their Φ⁻¹ times σ. How α is shared between the two is decided "
        "by the selection draws alone, so that the counts still hold at α."
    )
    use_when = (
        "By default. From the same counts it certifies more than `cohen` where several classes share the "
        "rest, also images whose class has less than half of the draws."
    )

    def certify(self, table: CountTable, alpha: float) -> Certified:
        """Radii of (N, C) counts at failure probability `alpha` per image; abstains where p̲_A ≤ p̄_B."""
        alpha = require_fixed_gaussian(self.name, table, alpha)
        chosen = selected_classes(table)
        successes = counts_of(chosen, table.counts)
        runner_up = np.maximum(other_counts(chosen, table.counts).max(axis=1), 0)
        share = split(table.selection_counts, table.n, alpha)
        one_minus_p_a, p_b = bounds(successes, runner_up, table.n, alpha, share)
        radius = gap_radius(one_minus_p_a, p_b, table.sigma)
        return abstain_unless(radius > 0, chosen, radius, successes == table.n)


def bounds(successes: Ints, runner_up: Ints, n: Ints, alpha: float, share: Floats) -> tuple[Floats, Floats]:
    """(1 − p̲_A, p̄_B), each (N,): p̲_A at share · alpha, p̄_B at the rest."""
    q = one_minus_lower(successes, n, share * alpha)
    split_at_all = share < 1
    p_b = upper(runner_up, n, np.where(split_at_all, (1 - share) * alpha, alpha))
    return q, np.where(split_at_all, np.minimum(p_b, q), q)


def split(selection_counts: Ints, n: Ints, alpha: float) -> Floats:
    """(N,): the share of alpha for p̲_A that promises the largest radius at the frequencies of the selection draws.

    A Wilson interval stands in for Clopper–Pearson here: whatever is chosen, the level holds.
    """
    chosen = selection_counts.argmax(axis=1)
    drawn, leader = selection_counts.sum(axis=1), counts_of(chosen, selection_counts)
    second = np.maximum(other_counts(chosen, selection_counts).max(axis=1), 0)
    case, which = _cases(drawn, leader, second, n)
    drawn, leader, second, n = drawn[case], leader[case], second[case], n[case]
    # Half a draw to either side, and one more of the others for the runner-up as for the rest of them: a few
    # draws that saw one rival don't prove that there is no other, and CERTIFY where there is costs the most.
    p_a = (leader + 0.5) / (drawn + 1)
    p_b = (1 - p_a) * (second + 1) / (drawn - leader + np.clip(selection_counts.shape[1] - 1, 1, 2))
    shares = np.array(SHARES)
    low_a = wilson(p_a[:, None], n[:, None], ndtri(alpha * shares)[None, :])
    high_b = wilson(p_b[:, None], n[:, None], -ndtri(np.maximum(alpha * (1 - shares), 1e-300))[None, :])
    high_b = np.where(shares < 1, np.minimum(high_b, 1 - low_a), 1 - low_a)
    # The last of equal ones is CERTIFY, which needs no second bound.
    best = len(shares) - 1 - np.argmax((ndtri(low_a) - ndtri(high_b))[:, ::-1], axis=1)
    return np.asarray(shares[best][which], np.float64)


def _cases(drawn: Ints, leader: Ints, second: Ints, n: Ints) -> tuple[Ints, Ints]:
    """One row of each case, and every row's case: a fixed number of draws leaves few, and each is worked out once."""
    if len(n) and (drawn == drawn[0]).all() and (n == n[0]).all():
        _, first, which = np.unique(
            leader * (int(drawn[0]) + 1) + second, return_index=True, return_inverse=True
        )
        return first, which
    return np.arange(len(n)), np.arange(len(n))


def wilson(p: Floats, n: Ints, z: Floats) -> Floats:
    """The end of Wilson's score interval on the side of the sign of z."""
    n = np.maximum(n, 1)
    return np.asarray(
        (p + z * z / (2 * n) + z * np.sqrt(p * (1 - p) / n + (z / (2 * n)) ** 2)) / (1 + z * z / n)
    )


CERTIFICATE = RunnerUp()
