"""Top-k radii: exact values, exact coverage, and a classifier whose top-k radius is known."""

from __future__ import annotations

import numpy as np
import pytest
from enumeration import outcomes, probabilities, worst_cases
from high_precision import golden
from scipy.special import ndtr, ndtri
from scipy.stats import binom

from rsctl.certificates import CountTable, find_certificate
from rsctl.certificates.bounds import gap_radius
from rsctl.certificates.runner_up import bounds
from rsctl.certificates.top_k import TopK
from rsctl.errors import RefusedError


def table_of(counts: np.ndarray, label: int, sigma: float = 1.0) -> CountTable:
    # Selection draws that point elsewhere: they must not matter.
    selection = np.zeros_like(counts)
    selection[:, (label + 1) % counts.shape[1]] = 100
    return CountTable(selection, counts, counts.sum(axis=1), sigma, 3072, label=np.full(len(counts), label))


def radius_of(p: np.ndarray, label: int, k: int) -> np.ndarray:
    """(P,): the radius of Jia's theorem with p (P, C) known, by scanning a fine grid."""
    others = -np.sort(-np.delete(p, label, axis=1), axis=1)[:, :k]
    grid = np.linspace(0, 4, 4001)
    best = np.zeros(len(p))
    for t in range(1, k + 1):
        top = ndtri(np.minimum(others[:, k - t :].sum(axis=1), 1 - p[:, label]))
        holds = ndtr(ndtri(p[:, label])[:, None] - grid) >= ndtr(top[:, None] + grid) / t
        best = np.maximum(best, np.where(holds[:, 0], grid[holds.sum(axis=1) - 1] + 0.001, 0))
    return best


def test_radii_are_the_40_digit_ones_and_never_above_them() -> None:
    for row in golden("top-k"):
        counts = np.array([[row["others"][0], row["label"], *row["others"][1:]]])
        certified = TopK(row["k"]).certify(table_of(counts, 1, 0.5), row["alpha"])
        if row["radius"] is None:
            assert (certified.predicted[0], certified.radius[0]) == (-1, 0), row
        else:
            assert certified.predicted[0] == 1
            assert 0 <= 0.5 * float(row["radius"]) - certified.radius[0] < 1e-9, row


def coverage(n: int, classes: int, k: int, alpha: float, random: int) -> float:
    counts = outcomes(n, classes)
    certified = TopK(k).certify(table_of(counts, 0), alpha)
    p = worst_cases(n, classes, [alpha / 2], random)
    # Rivals just above a bound, and one far ahead: then the k-th decides.
    rivals = np.array(
        [[0.02, 0.6 - e, *[(0.38 + e) / (classes - 2)] * (classes - 2)] for e in np.linspace(0, 0.4, 20)]
    )
    p = np.concatenate([p, rivals, p[:, [*range(1, classes), 0]]])
    wrong = (certified.predicted >= 0)[None, :] & (
        certified.radius[None, :] > radius_of(p, 0, k)[:, None] + 1e-9
    )
    return float((probabilities(counts, p) * wrong).sum(axis=1).max() / alpha)


@pytest.mark.parametrize("alpha", [0.05, 0.001])
@pytest.mark.parametrize(("n", "classes", "k"), [(16, 4, 2), (10, 5, 3)])
def test_it_fails_with_probability_alpha_at_most(n: int, classes: int, k: int, alpha: float) -> None:
    assert 0.2 < coverage(n, classes, k, alpha, random=30) <= 1


@pytest.mark.long
@pytest.mark.parametrize("alpha", [0.05, 0.001])
@pytest.mark.parametrize(("n", "classes", "k"), [(60, 3, 2), (30, 4, 2), (30, 4, 3), (16, 5, 2), (16, 5, 3)])
def test_it_fails_with_probability_alpha_at_most_on_larger_tables(
    n: int, classes: int, k: int, alpha: float
) -> None:
    assert coverage(n, classes, k, alpha, random=200) <= 1


@pytest.mark.parametrize("k", [2, 3, 5])
def test_a_half_space_whose_complement_is_shared_by_k_rivals_is_certified_up_to_its_known_radius(
    k: int,
) -> None:
    # The label is {u < z}; the rest is cut into k equal parts across the shift. At a shift ρ the label has
    # Φ(z − ρ) and each rival (1 − Φ(z − ρ))/k: the label leaves the k largest where it has 1/(k + 1).
    generator = np.random.default_rng(k)
    z = generator.uniform(-0.5, 2.5, 2000)
    n, alpha, distance = 20_000, 0.001, z - ndtri(1 / (k + 1))
    p = np.concatenate([ndtr(z)[:, None], np.repeat((1 - ndtr(z))[:, None] / k, k, axis=1)], axis=1)
    counts = np.array([generator.multinomial(n, row) for row in p])
    certified = TopK(k).certify(table_of(counts, 0), alpha)
    wrong = (certified.predicted == 0) & (certified.radius > distance)
    assert wrong.sum() <= binom.ppf(1 - 1e-6, len(z), alpha)
    assert np.median((distance - certified.radius)[distance > 0.2]) < 0.08


def test_for_k_1_it_is_the_two_bounds_at_half_of_alpha_each() -> None:
    counts = np.random.default_rng(0).multinomial(1000, [0.6, 0.25, 0.15], 40)
    ours = TopK(1).certify(table_of(counts, 0), 0.001).radius
    q, p_b = bounds(counts[:, 0], counts[:, 1:].max(axis=1), np.full(40, 1000), 0.001, np.full(40, 0.5))
    np.testing.assert_allclose(ours, np.maximum(gap_radius(q, p_b, 1.0), 0), atol=1e-9)


def test_a_larger_k_never_certifies_less_when_the_bounds_are_known() -> None:
    counts = np.random.default_rng(1).multinomial(10_000, [0.3, 0.25, 0.2, 0.1, 0.1, 0.05], 40)
    radii = [TopK(k).certify(table_of(counts, 0), 0.001).radius for k in (1, 2, 3, 5)]
    assert (np.diff(np.array(radii), axis=0) > -0.01).all()
    assert (radii[-1] > radii[0] + 0.3).all()


def test_it_needs_labels_and_more_classes_than_k() -> None:
    top_2 = find_certificate("top-2")
    counts = np.array([[900, 60, 40]])
    with pytest.raises(RefusedError, match="no labels"):
        top_2.certify(CountTable(counts, counts, np.array([1000]), 1.0, 3072), 0.001)
    for label in (3, -1):  # of which -1 would be read as the last class
        with pytest.raises(RefusedError, match="label is outside"):
            top_2.certify(
                CountTable(counts, counts, np.array([1000]), 1.0, 3072, label=np.array([label])), 0.001
            )
    with pytest.raises(RefusedError, match="certifies nothing where there are 2 classes"):
        top_2.certify(table_of(np.array([[900, 100]]), 0), 0.001)
