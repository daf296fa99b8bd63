"""A cascade of smoothed classifiers as something to attack, and the confirmation of what was found.

g(x) is the class whose probability at the first level exceeds τ_1, where there is none that at the second, and so on; the last
level returns its most probable class (`rsctl.certificates.cascade`). Which level answers is a step function of x, without a
gradient. So scores are those of the level that answers, and their gradient is that of log Σ_k w_k p^k (straight-through,
Bengio et al. 2013): w_k is the share of level k where a level answers with probability sigmoid((max_c p^k_c − τ_k) / `SOFTNESS`)
and otherwise passes. It leads across the classes of a level as well as to another level with another class.

A found image is confirmed by draws of all levels. If g(x) is the label, then for every level k and class c other than it one of
these holds: p^j_label > τ_j at a level j < k, or p^k_c ≤ τ_k (at the last level p^k_c ≤ p^k_label). Selection draws name k and c;
fresh draws must reject all of them, each by a binomial test at level alpha: the one that holds is rejected with that
probability at most, so no union over them is needed (intersection-union test, Berger 1982).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import bdtr, bdtrc
from torch import Tensor

from jobs.attacks import Classify
from jobs.attacks.smoothed import Confirming, Smoothed, outvoted

SOFTNESS = 0.05
"""Width of the soft threshold, in probability."""


class SmoothedCascade(Confirming):
    """g of several levels with thresholds, to attack.

    `levels` are the smoothed classifiers in the order of the cascade, each with noise of its own key; `taus` the thresholds in
    [½, 1) of each but the last.
    """

    def __init__(self, levels: Sequence[Smoothed], taus: Sequence[float]) -> None:
        first = levels[0]
        super().__init__(max(one.sigma for one in levels), first.n, first.alpha)
        self.levels, self.taus = list(levels), list(taus)

    def classify(self, positions: Sequence[int]) -> Classify:
        """Scores of the images at these positions."""
        each = [level.classify(positions) for level in self.levels]
        return lambda images: joined([one(images) for one in each], self.taus)

    def votes(
        self, images: Tensor, labels: Tensor, positions: Sequence[int], trial: int
    ) -> NDArray[np.int64]:
        """Selection and estimation counts of every level, (N, 2, K, classes)."""
        return np.stack([level.votes(images, labels, positions, trial) for level in self.levels], axis=2)

    def p_values(self, votes: NDArray[np.int64], labels: NDArray[np.int64]) -> NDArray[np.float64]:
        """(N,): of "the cascade returns the label"."""
        return refuted(votes, labels, self.taus)

    def predicted(self, votes: NDArray[np.int64]) -> NDArray[np.int64]:
        """(N,): the class that the estimation counts give."""
        return answers(votes[:, 1], self.taus)[1]


def joined(scores: Sequence[Tensor], taus: Sequence[float]) -> Tensor:
    """Log-probabilities (N, classes) of the level that answers, with the gradient of the soft choice of a level.

    `scores` are the levels' log-probabilities.
    """
    *before, last = scores
    hard, soft = last.detach(), last
    for one, tau in zip(reversed(before), reversed(taus), strict=True):
        top = one.max(dim=1, keepdim=True).values.exp()
        gate = (top - tau) / SOFTNESS
        soft = torch.logaddexp(
            one + torch.nn.functional.logsigmoid(gate), soft + torch.nn.functional.logsigmoid(-gate)
        )
        hard = torch.where(top.detach() > tau, one.detach(), hard)
    return hard + (soft - soft.detach())


def answers(counts: NDArray[np.int64], taus: Sequence[float]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The level that answers and its class, (N,) each, where probabilities are the shares of these counts (N, K, classes)."""
    top, most = counts.argmax(axis=2), counts.max(axis=2)
    exceeds = most > np.array([*taus, 0.0]) * counts.sum(axis=2)
    exceeds[:, -1] = True
    level = exceeds.argmax(axis=1)
    return level, top[np.arange(len(counts)), level]


def refuted(
    votes: NDArray[np.int64], labels: NDArray[np.int64], taus: Sequence[float]
) -> NDArray[np.float64]:
    """p-values (N,) of "the cascade returns the label", from selection and estimation counts (N, 2, K, classes)."""
    rows = np.arange(len(votes))
    level, rival = answers(votes[:, 0], taus)
    counts, last = votes[:, 1], len(taus)
    p = np.where(rival == labels, 1.0, 0.0)
    for k, tau in enumerate(taus):
        own, drawn = counts[rows, k, labels], counts[:, k].sum(axis=1)
        # P(Bin(drawn, τ) ≤ own): small where the label hasn't more than τ here.
        p = np.maximum(p, np.where(k < level, bdtr(own, drawn, tau), 0.0))
        theirs = counts[rows, k, rival]
        exceeds = np.where(theirs > 0, bdtrc(np.maximum(theirs, 1) - 1.0, drawn, tau), 1.0)
        p = np.maximum(p, np.where(k == level, exceeds, 0.0))
    against = outvoted(votes[:, :, last], labels, 1)
    return np.asarray(np.maximum(p, np.where(level == last, against, 0.0)))
