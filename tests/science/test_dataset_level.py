"""Bounds on the certified accuracy of a whole set: exact failure probabilities, and what they refuse."""

from __future__ import annotations

import mpmath as mp
import numpy as np
import pytest
from high_precision import lower as exact_lower
from high_precision import tail
from scipy.stats import binom

from rsctl.certificates.dataset_level import (
    accuracy_of_the_population,
    accuracy_of_these_images,
    wrong_claims,
)
from rsctl.errors import RefusedError


@pytest.mark.parametrize("images", [1, 20, 500, 10_000])
@pytest.mark.parametrize("alpha", [1e-6, 0.001, 0.002, 0.05, 0.5])
@pytest.mark.parametrize("rho", [1e-9, 0.001, 0.05, 0.6])
def test_the_number_of_wrong_claims_is_the_smallest_that_rho_allows(
    images: int, alpha: float, rho: float
) -> None:
    q = wrong_claims(images, alpha, rho)
    assert tail(q + 1, images, alpha) <= rho
    assert q == 0 or tail(q, images, alpha) > rho


def test_the_published_figure_is_exceeded_where_ours_holds() -> None:
    # Cohen's HighProb at m = 10,000, α = ρ = 0.001 leaves room for fewer wrong claims than happen.
    m, alpha, rho = 10_000, 0.001, 0.001
    public = m * (alpha + np.sqrt(alpha * (1 - alpha) * np.log(1 / rho) / m) + np.log(1 / rho) / (3 * m))
    assert binom.sf(np.floor(public), m, alpha) > 1.5 * rho
    assert binom.sf(wrong_claims(m, alpha, rho), m, alpha) <= rho


@pytest.mark.parametrize("robust", [0, 100, 480, 500])
def test_for_these_images_it_fails_with_probability_rho_at_most(robust: int) -> None:
    # The worst that can happen: every robust image is certified, and every other with probability α.
    images, alpha, rho = 500, 0.001, 0.01
    wrong = np.arange(images - robust + 1)
    bound = accuracy_of_these_images(robust + wrong, images, alpha, rho)
    fails = binom.pmf(wrong, images - robust, alpha)[bound > robust / images + 1e-12].sum()
    assert fails <= rho


@pytest.mark.parametrize("alpha", [0.001, 0.05])
@pytest.mark.parametrize("true", [0.0, 0.05, 0.4, 0.77, 0.999, 1.0])
def test_for_the_population_it_fails_with_probability_rho_at_most(true: float, alpha: float) -> None:
    for images, rho in ((40, 0.05), (500, 0.05), (500, 0.001)):
        k = np.arange(images + 1)
        bound = accuracy_of_the_population(k, images, alpha, rho)
        fails = binom.pmf(k, images, true + (1 - true) * alpha)[bound > true + 1e-12].sum()
        assert fails <= rho


def test_the_population_bound_is_the_40_digit_one_less_alpha() -> None:
    for k, images, alpha, rho in (
        (400, 500, 0.001, 0.001),
        (7_650, 10_000, 0.001, 0.05),
        (500, 500, 0.05, 0.01),
    ):
        exact = exact_lower(k, images, rho) - mp.mpf(alpha)
        found = float(accuracy_of_the_population(k, images, alpha, rho))
        assert 0 <= exact - mp.mpf(found) < 1e-10


def test_all_radii_at_once_cost_nothing_more() -> None:
    curve = np.array([[400, 300], [120, 0]])
    bound = accuracy_of_these_images(curve, 500, 0.001, 0.01)
    q = wrong_claims(500, 0.001, 0.01)
    np.testing.assert_allclose(bound, np.maximum(curve - q, 0) / 500)


@pytest.mark.parametrize(
    ("certified", "images", "alpha", "rho", "says"),
    [
        (10, 0, 0.001, 0.01, "at least one image"),
        (11, 10, 0.001, 0.01, "from 0 to 10"),
        (-1, 10, 0.001, 0.01, "from 0 to 10"),
        ([4, 11], 10, 0.001, 0.01, "from 0 to 10"),
        ([4, -1], 10, 0.001, 0.01, "from 0 to 10"),
        (0.4, 10, 0.001, 0.01, "whole numbers"),
        (4, 10, 1.2, 0.01, "alpha"),
        (4, 10, 0.001, 0.0, "rho"),
    ],
)
def test_what_makes_no_sense_is_refused(
    certified: float | list[int], images: int, alpha: float, rho: float, says: str
) -> None:
    for bound in (accuracy_of_these_images, accuracy_of_the_population):
        with pytest.raises(RefusedError, match=says):
            bound(certified, images, alpha, rho)
