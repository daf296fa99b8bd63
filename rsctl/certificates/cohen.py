"""CERTIFY and PREDICT (Cohen, Rosenfeld, Kolter 2019, section 3.2)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr

from rsctl.certificates.bounds import gaussian_radius, one_minus_lower
from rsctl.certificates.protocol import ABSTAIN, Certified, CountTable, Guarantee, Refusals


class Cohen:
    """R = σ Φ⁻¹(p̲_A), with p̲_A the Clopper–Pearson lower bound at 1 − α on the class the selection draws chose."""

    name = "cohen"
    title = "CERTIFY"
    citation = "Cohen, Rosenfeld, Kolter 2019, Theorem 1 and CERTIFY"
    guarantee = Guarantee("probabilistic", "the smoothed classifier g")
    norm = "l2"
    k = 1

    def certify(self, table: CountTable, alpha: float) -> Certified:
        """Radii of (N, C) counts at failure probability `alpha` per image.

        The class is the argmax of the selection counts (the lowest index wins a tie); it abstains
        (predicted -1, radius 0) where p̲_A ≤ ½, for there the radius would be 0 or negative.
        """
        Refusals().check(self.name, table, alpha)
        chosen = table.selection_counts.argmax(axis=1).astype(np.int64)
        successes = np.take_along_axis(table.counts, chosen[:, None], axis=1)[:, 0]
        q = one_minus_lower(successes, table.n, alpha)
        certified = q < 0.5
        radius = np.where(certified, gaussian_radius(np.where(certified, q, 0.5), table.sigma), 0.0)
        predicted = np.where(certified, chosen, ABSTAIN)
        return Certified(predicted, radius, certified & (successes == table.n))


def predict(counts: NDArray[np.integer], alpha: float) -> NDArray[np.int64]:
    """PREDICT: the most frequent class of each row of (N, C) counts, or -1.

    Abstains unless the two-sided binomial test of the two largest counts against ½ has p ≤ alpha; wrong
    with probability at most alpha.
    """
    order = np.argsort(-counts, axis=1, kind="stable")
    first, second = (np.take_along_axis(counts, order[:, i : i + 1], axis=1)[:, 0] for i in (0, 1))
    p_value = np.minimum(1.0, 2 * bdtr(second.astype(float), first + second, 0.5))
    return np.where(p_value <= alpha, order[:, 0], ABSTAIN).astype(np.int64)


CERTIFICATE = Cohen()
