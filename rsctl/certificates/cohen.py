"""CERTIFY and PREDICT (Cohen, Rosenfeld, Kolter 2019, section 3.2)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc

from rsctl.certificates.bounds import gaussian_radius, one_minus_lower
from rsctl.certificates.protocol import (
    ABSTAIN,
    Certified,
    CountTable,
    Guarantee,
    Ints,
    abstain_unless,
    counts_of,
    require_alpha,
    require_fixed_gaussian,
    selected_classes,
)
from rsctl.errors import RefusedError


class Cohen:
    """R = σ Φ⁻¹(p̲_A), with p̲_A the Clopper–Pearson lower bound at 1 − α on the class the selection draws chose."""

    name = "cohen"
    title = "CERTIFY"
    citation = "Cohen, Rosenfeld, Kolter 2019, Theorem 1 and CERTIFY"
    guarantee = Guarantee("probabilistic", "the smoothed classifier g")
    norm = "l2"
    k = 1
    about = (
        "A lower confidence bound on the probability that f gives the selected class under noise, turned into "
        "a radius by σΦ⁻¹. The selection draws choose the class, the estimation draws bound its probability, "
        "and it abstains where the bound isn't above ½."
    )
    use_when = "To compare with papers, nearly all of which print CERTIFY."

    def certify(self, table: CountTable, alpha: float) -> Certified:
        """Radii of (N, C) counts at failure probability `alpha` per image.

        The class is the argmax of the selection counts (the lowest index wins a tie); it abstains
        (predicted -1, radius 0) where p̲_A ≤ ½, for there the radius would be 0 or negative.
        """
        alpha = require_fixed_gaussian(self.name, table, alpha)
        chosen = selected_classes(table)
        successes = counts_of(chosen, table.counts)
        q = one_minus_lower(successes, table.n, alpha)
        return abstain_unless(q < 0.5, chosen, gaussian_radius(q, table.sigma), successes == table.n)


def predict(counts: Ints, alpha: float) -> NDArray[np.int64]:
    """PREDICT: the most frequent class of each row of (N, C ≥ 2) counts as int64, or -1.

    Abstains unless the two-sided binomial test of the two largest counts against ½ has p ≤ alpha; wrong
    with probability at most alpha (Cohen 2019, Proposition 2). Raises RefusedError for one class only, or an alpha outside (0, 1).
    """
    require_alpha(alpha)
    if counts.ndim != 2 or counts.shape[1] < 2:
        raise RefusedError(f"PREDICT compares two classes; these counts have the shape {counts.shape}.")
    counts = counts.astype(np.int64)  # of unsigned counts the negative below would wrap around
    order = np.argsort(-counts, axis=1, kind="stable")
    first, second = np.take_along_axis(counts, order[:, :2], axis=1).T
    # P(Bin(first + second, ½) ≤ second) as an incomplete beta function; with no draws at all ½, which abstains.
    tail = betainc(np.maximum(first, 1), second + 1, 0.5)
    return np.where(2 * tail <= alpha, order[:, 0], ABSTAIN).astype(np.int64)


CERTIFICATE = Cohen()
