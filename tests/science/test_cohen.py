"""CERTIFY and PREDICT: what they promise, by exact enumeration and on classifiers whose radius is known."""

from __future__ import annotations

import numpy as np
import pytest
from enumeration import failures, outcomes, probabilities, table_of, true_radius, worst_cases
from high_precision import golden
from scipy.special import ndtr
from scipy.stats import binom, binomtest

from rsctl.certificates import CountTable, find_certificate
from rsctl.certificates.cohen import predict
from rsctl.errors import RefusedError

COHEN = find_certificate("cohen")


def binary_table(successes: np.ndarray, n: int, sigma: float = 1.0, classes: int = 2) -> CountTable:
    """Class 0 chosen; `successes` of n for it, the rest for class 1."""
    counts = np.zeros((len(successes), classes), np.int64)
    counts[:, 0], counts[:, 1] = successes, n - successes
    selection = np.zeros_like(counts)
    selection[:, 0] = 100
    return CountTable(selection, counts, np.full(len(successes), n), sigma, 3072)


@pytest.mark.parametrize("n", [10, 100, 100_000, 10_000_000])
def test_radii_are_the_40_digit_ones_and_it_abstains_exactly_at_one_half(n: int) -> None:
    rows = [row for row in golden("bounds") if row["n"] == n and row["quantile"] is not None]
    for alpha in {row["alpha"] for row in rows}:
        here = [row for row in rows if row["alpha"] == alpha]
        certified = COHEN.certify(binary_table(np.array([row["k"] for row in here]), n, sigma=0.25), alpha)
        exact = np.array([0.25 * float(row["quantile"]) for row in here])
        assert ((certified.predicted == 0) == (exact > 1e-9)).all()
        np.testing.assert_allclose(certified.radius, np.maximum(exact, 0), rtol=0, atol=1e-9)
        assert (certified.radius <= np.maximum(exact, 0)).all()


def test_a_lower_bound_of_exactly_one_half_abstains() -> None:
    # P(Bin(10, 1/2) ≥ 10) = 2^-10: the bound is 1/2 to the last digit, and the radius would be 0.
    certified = COHEN.certify(binary_table(np.array([10]), 10), 2.0**-10)
    assert certified.predicted[0] == -1
    assert COHEN.certify(binary_table(np.array([10]), 10), 2.0**-10 * 1.0001).predicted[0] == 0


def test_the_class_comes_from_the_selection_draws_alone() -> None:
    counts = np.array([[900, 100], [900, 100], [900, 100]])
    selection = np.array([[10, 90], [90, 10], [50, 50]])
    certified = COHEN.certify(CountTable(selection, counts, counts.sum(axis=1), 1.0, 3072), 0.001)
    assert certified.predicted.tolist() == [-1, 0, 0]  # not the most frequent class of the estimation draws
    assert certified.radius[0] == 0


def test_at_cap_marks_only_full_counts() -> None:
    certified = COHEN.certify(binary_table(np.array([1000, 999, 4]), 1000), 0.001)
    assert certified.at_cap.tolist() == [True, False, False]
    # Full, but so few that it abstains: no radius, so none at the cap.
    assert COHEN.certify(binary_table(np.array([4]), 4), 0.001).at_cap.tolist() == [False]


def coverage(n: int, classes: int, alpha: float, random: int) -> float:
    counts = outcomes(n, classes)
    selection = np.eye(classes, dtype=np.int64)[0] * 100
    return float(
        failures(COHEN, counts, selection, alpha, worst_cases(n, classes, [alpha], random)).max() / alpha
    )


@pytest.mark.parametrize("alpha", [0.05, 0.001])
@pytest.mark.parametrize(("n", "classes"), [(60, 2), (24, 3), (12, 4)])
def test_it_fails_with_probability_alpha_at_most(n: int, classes: int, alpha: float) -> None:
    worst = coverage(n, classes, alpha, random=100)
    assert worst <= 1
    # Two classes just below a bound use alpha up, so a bound at any larger alpha would fail here.
    assert worst > 0.999


@pytest.mark.long
@pytest.mark.parametrize("alpha", [0.05, 0.01, 0.001])
@pytest.mark.parametrize(("n", "classes"), [(1000, 2), (100, 3), (50, 4), (20, 5)])
def test_it_fails_with_probability_alpha_at_most_on_larger_tables(n: int, classes: int, alpha: float) -> None:
    assert 0.999 < coverage(n, classes, alpha, random=1000) <= 1


@pytest.mark.parametrize("sigma", [0.25, 1.0])
def test_a_linear_classifier_is_certified_almost_to_its_distance_and_not_beyond(sigma: float) -> None:
    # f = sign(w·x + b): P(f = 1) = Φ(margin / σ‖w‖), and the radius of g is margin / ‖w‖.
    generator = np.random.default_rng(1)
    images, n, alpha = 4000, 20_000, 0.001
    w = generator.normal(size=(images, 20))
    margin = np.abs(generator.normal(size=images)) * np.linalg.norm(w, axis=1) * sigma
    distance = margin / np.linalg.norm(w, axis=1)
    successes = generator.binomial(n, ndtr(distance / sigma))
    certified = COHEN.certify(binary_table(successes, n, sigma), alpha)
    assert (certified.radius > distance).sum() <= binom.ppf(1 - 1e-6, images, alpha)
    close = (distance > 0.2 * sigma) & (distance < 2.5 * sigma)
    assert (distance - certified.radius)[close].max() < 0.25 * sigma
    assert np.median((distance - certified.radius)[close]) < 0.05 * sigma


def test_a_many_class_classifier_with_flat_boundaries_is_never_certified_beyond_its_true_radius() -> None:
    # The class depends on t = w·x only: intervals of the line, so p(t) and the radius of g are one-dimensional.
    generator = np.random.default_rng(2)
    edges, sigma, n, alpha = np.array([-1.5, -0.4, 0.9, 1.2]), 0.5, 10_000, 0.001

    def p(t: np.ndarray) -> np.ndarray:
        cumulative = ndtr((edges[None, :] - t[:, None]) / sigma)
        padded = np.concatenate([np.zeros((len(t), 1)), cumulative, np.ones((len(t), 1))], axis=1)
        return np.diff(padded, axis=1)

    line = np.linspace(-5, 5, 200_001)
    winner = p(line).argmax(axis=1)
    changes = (line[1:] + line[:-1])[np.flatnonzero(np.diff(winner))] / 2
    t = generator.uniform(-3, 3, 3000)
    distance = np.abs(t[:, None] - changes[None, :]).min(axis=1)
    counts = np.array([generator.multinomial(n, row) for row in p(t)])
    selection = np.array([generator.multinomial(100, row) for row in p(t)])
    certified = COHEN.certify(CountTable(selection, counts, np.full(len(t), n), sigma, 3072), alpha)
    truth = p(t).argmax(axis=1)
    claims = certified.predicted >= 0
    wrong = claims & ((certified.predicted != truth) | (certified.radius > distance + 1e-4))
    assert claims.sum() > 1500
    assert wrong.sum() <= binom.ppf(1 - 1e-6, len(t), alpha)


def test_more_successes_a_larger_alpha_and_more_draws_never_shrink_a_radius() -> None:
    radii = COHEN.certify(binary_table(np.arange(0, 1001), 1000), 0.001).radius
    assert (np.diff(radii) >= 0).all()
    assert (np.diff(radii[radii > 0]) > 0).all()
    by_alpha = [
        COHEN.certify(binary_table(np.array([800]), 1000), a).radius[0] for a in (1e-6, 1e-3, 0.01, 0.1)
    ]
    assert (np.diff(by_alpha) > 0).all()
    by_n = [
        COHEN.certify(binary_table(np.array([8 * n // 10]), n), 0.001).radius[0] for n in (100, 10_000, 10**7)
    ]
    assert (np.diff(by_n) > 0).all()


# PREDICT


def test_predict_is_the_two_sided_binomial_test() -> None:
    for row in golden("predict"):
        counts = np.array([[row["second"], 0, row["first"]]])
        p = float(row["p"])
        for alpha in (p * 1.0001, p * 0.9999):
            if 0 < alpha < 1:
                expected = 2 if alpha > p and row["first"] > row["second"] else -1
                assert predict(counts, alpha)[0] == expected, (row, alpha)


def test_predict_agrees_with_scipy_on_large_counts() -> None:
    generator = np.random.default_rng(3)
    first = generator.integers(1, 60_000, 300)
    second = (first * generator.uniform(0.9, 1, 300)).astype(np.int64)
    expected = [binomtest(int(a), int(a + b), 0.5).pvalue <= 0.01 for a, b in zip(first, second, strict=True)]
    assert ((predict(np.stack([second, first], axis=1), 0.01) == 1) == expected).all()


def test_predict_answers_where_p_is_exactly_alpha_and_never_without_draws() -> None:
    assert predict(np.array([[10, 0]]), 2.0**-9)[0] == 0
    assert predict(np.array([[0, 0], [1, 0], [1, 1]]), 1 - 1e-15).tolist() == [-1, -1, -1]


@pytest.mark.parametrize(
    ("counts", "alpha", "says"),
    [
        (np.array([[10]]), 0.001, "two classes"),
        (np.array([10, 0]), 0.001, "two classes"),
        (np.array([[10, 0]]), 0.0, "alpha"),
        (np.array([[10, 0]]), 1.0, "alpha"),
    ],
)
def test_predict_refuses_what_it_has_no_answer_for(counts: np.ndarray, alpha: float, says: str) -> None:
    with pytest.raises(RefusedError, match=says):
        predict(counts, alpha)


def test_predict_of_unsigned_counts() -> None:
    assert predict(np.array([[0, 90, 10]], np.uint32), 0.001)[0] == 1


@pytest.mark.parametrize("alpha", [0.05, 0.001])
@pytest.mark.parametrize(("n", "classes"), [(60, 2), (24, 3), (12, 4)])
def test_predict_is_wrong_with_probability_alpha_at_most(n: int, classes: int, alpha: float) -> None:
    counts = outcomes(n, classes)
    generator = np.random.default_rng(0)
    p = np.concatenate(
        [
            generator.dirichlet(np.ones(classes), 200),
            [np.eye(classes)[0] * 2e-9 + 1 / classes],
            np.eye(classes)[:1] * 0.1 + 0.9 / classes,
        ]
    )
    p /= p.sum(axis=1, keepdims=True)
    answers = predict(counts, alpha)
    wrong = (answers[None, :] >= 0) & (answers[None, :] != p.argmax(axis=1)[:, None])
    assert (probabilities(counts, p) * wrong).sum(axis=1).max() <= alpha


def test_helpers_agree_on_what_is_true() -> None:
    # The truth that coverage is measured against: equal to Cohen's σΦ⁻¹(p_A) for two classes.
    p = np.array([[0.8, 0.2], [0.4, 0.6]])
    np.testing.assert_allclose(true_radius(p, 0), [0.8416212, -0.2533471], atol=1e-6)
    assert table_of(outcomes(3, 2), np.array([1, 0])).counts.shape == (4, 2)
    np.testing.assert_allclose(probabilities(outcomes(5, 3), np.array([[0.2, 0.3, 0.5]])).sum(), 1)
