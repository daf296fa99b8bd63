"""The true label stays among the k most probable classes (after Jia et al. 2020)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from rsctl.certificates.bounds import one_minus_lower, upper
from rsctl.certificates.protocol import (
    Certified,
    CountTable,
    Floats,
    Guarantee,
    abstain_unless,
    counts_of,
    other_counts,
    require_fixed_gaussian,
)
from rsctl.errors import RefusedError


class TopK:
    """The largest R at which no k other classes can all reach the true label, p̲_l at α/2 and p̄₁ ≥ … ≥ p̄_k at α/2.

    Jia et al. 2020, Theorem 1: with S_t the t smallest of the k largest other probabilities, label l stays
    among the k while Φ(Φ⁻¹(p̲_l) − R/σ) > Φ(Φ⁻¹(p̄_{S_t}) + R/σ)/t for some t, p̄_{S_t} = min(Σ p̄, 1 − p̲_l).

    They bound all C classes at α/C each. Here p̄_j = up(N₍j₎) at α/2k, N₍j₎ the j-th largest other count: let
    the bounds of the k most probable others hold. The least count among the j most probable of them is at
    most N₍j₎, so p̄_j is at least that class's bound, hence at least the j-th largest probability. Only k
    bounds can fail, whichever classes they belong to.
    """

    norm = "l2"
    citation = "Jia, Cao, Wang, Gong 2020, Theorem 1; a union over k bounds instead of all classes"

    def __init__(self, k: int) -> None:
        self.k = k
        self.name = f"top-{k}"
        self.title = f"Top-{k}"
        self.guarantee = Guarantee("probabilistic", f"the {k} most probable classes of g")
        self.about = (
            f"The largest radius within which the true label stays among the {k} most probable classes of the smoothed classifier. "
            f"It bounds the label's probability from below and those of the {k} strongest others from above."
        )
        self.use_when = "With many classes, as on ImageNet and CIFAR-100, where one speaks of top-k accuracy."

    def certify(self, table: CountTable, alpha: float) -> Certified:
        """Radii of (N, C) counts, one for the true label of each image; `predicted` is that label or -1.

        The selection draws aren't needed: the label isn't chosen by the counts. Where k ≥ C nothing can
        leave the k largest, and it refuses, as it does a table without labels.
        """
        alpha = require_fixed_gaussian(self.name, table, alpha)
        if table.label is None:
            raise RefusedError(f"{self.name} is about the true label; this table has no labels.")
        classes = table.counts.shape[1]
        if len(table.label) and not (table.label.min() >= 0 and table.label.max() < classes):
            raise RefusedError(f"a label is outside 0 … {classes - 1}: the table is corrupt.")
        if classes <= self.k and len(table.counts):
            raise RefusedError(
                f"{self.name} certifies nothing where there are {classes} classes: all are among the {self.k} largest."
            )
        label = table.label.astype(np.int64)
        successes = counts_of(label, table.counts)
        q = one_minus_lower(successes, table.n, alpha / 2)
        largest = -np.sort(-other_counts(label, table.counts), axis=1)[:, : self.k]
        p_bars = upper(largest, table.n[:, None], alpha / 2 / self.k)
        # Sums of the 1, 2, …, k smallest of them.
        sums = np.minimum(np.cumsum(p_bars[:, ::-1], axis=1), q[:, None])
        radius = np.zeros(len(label))
        for t in range(1, sums.shape[1] + 1):
            radius = np.maximum(radius, table.sigma * _reach(q, sums[:, t - 1], t))
        return abstain_unless(radius > 0, label, radius, successes == table.n)


def _reach(q: Floats, p_sum: Floats, t: int) -> NDArray[np.float64]:
    """The largest ρ with Φ(Φ⁻¹(1 − q) − ρ) ≥ Φ(Φ⁻¹(p_sum) + ρ)/t, from below, or 0: halving an interval."""
    z, top = -ndtri(q), ndtri(p_sum)
    low = np.zeros(len(q))
    # There the left side is at most 1/2t and the right side at least that.
    high = np.maximum(np.maximum(z - ndtri(0.5 / t), -top), 0)
    certified = ndtr(z) > ndtr(top) / t
    for _ in range(60):
        middle = (low + high) / 2
        # A relative margin for the error of Φ in its tails.
        holds = certified & (ndtr(z - middle) >= ndtr(top + middle) / t * (1 + 1e-12))
        low, high = np.where(holds, middle, low), np.where(holds, high, middle)
    return low


CERTIFICATES = tuple(TopK(k) for k in (2, 3, 5))
