"""Exact failure probabilities: every outcome of n draws, weighed by its multinomial probability."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, ndtri

from rsctl.certificates import Certificate, CountTable

Floats = NDArray[np.float64]


def outcomes(n: int, classes: int) -> NDArray[np.int64]:
    """(M, C): every way to spread n draws over the classes."""
    bars = np.array(list(itertools.combinations(range(n + classes - 1), classes - 1)), np.int64)
    edges = np.concatenate(
        [np.full((len(bars), 1), -1), bars, np.full((len(bars), 1), n + classes - 1)], axis=1
    )
    return np.diff(edges, axis=1) - 1


def probabilities(counts: NDArray[np.int64], p: Floats) -> Floats:
    """(P, M): multinomial probability of each outcome (M, C) under each p (P, C)."""
    coefficient = gammaln(counts.sum(axis=1) + 1) - gammaln(counts + 1).sum(axis=1)
    with np.errstate(divide="ignore"):
        log_p = np.maximum(np.log(p), -1e5)
    return np.exp(coefficient + log_p @ counts.T)


def true_radius(p: Floats, chosen: int) -> Floats:
    """(P,): the largest radius Cohen's theorem gives with p known, for σ = 1; negative if `chosen` isn't the top class."""
    others = np.delete(p, chosen, axis=1).max(axis=1)
    return (ndtri(p[:, chosen]) - ndtri(others)) / 2


def table_of(counts: NDArray[np.int64], selection: NDArray[np.int64], **fields: object) -> CountTable:
    """Every row with the same selection counts."""
    rows = np.broadcast_to(selection, counts.shape)
    return CountTable(rows, counts, counts.sum(axis=1), 1.0, 3072, **fields)  # type: ignore[arg-type]


def failures(
    certificate: Certificate, counts: NDArray[np.int64], selection: NDArray[np.int64], alpha: float, p: Floats
) -> Floats:
    """(P,): probability that the certificate claims more than is true, under each p (P, C).

    Conditional on the selection draws, which is stronger than what is promised.
    """
    certified = certificate.certify(table_of(counts, selection), alpha)
    claiming = certified.predicted >= 0
    counts, radius = counts[claiming], certified.radius[claiming]
    true = true_radius(p, int(selection.argmax()))
    result = np.zeros(len(p))
    step = 10_000_000 // max(len(counts), 1) + 1
    for start in range(0, len(p), step):
        part = slice(start, start + step)
        wrong = radius[None, :] > true[part, None] + 1e-10
        result[part] = (probabilities(counts, p[part]) * wrong).sum(axis=1)
    return result


def worst_cases(n: int, classes: int, alphas: list[float], random: int, seed: int = 0) -> Floats:
    """(P, C): probabilities where a bound at n and alpha is tight in class 0, and random ones.

    The rest of the mass lies on one rival, is spread evenly, or is drawn from a Dirichlet distribution.
    """
    from rsctl.certificates.bounds import lower

    generator = np.random.default_rng(seed)
    rows = []
    for alpha in alphas:
        # Just below a bound is where claiming it is wrong with the highest probability.
        for p_a in lower(np.arange(1, n + 1), n, alpha) - 1e-7:
            if not 0 < p_a < 1:
                continue
            for rest in (
                np.eye(classes - 1)[0],
                np.full(classes - 1, 1 / (classes - 1)),
                generator.dirichlet(np.ones(classes - 1)),
                generator.dirichlet(np.full(classes - 1, 0.3)),
            ):
                rows.append([p_a, *((1 - p_a) * rest)])
    rows += list(generator.dirichlet(np.ones(classes), random))
    return np.array(rows)
