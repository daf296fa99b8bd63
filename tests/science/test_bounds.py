"""Clopper–Pearson bounds against 40-digit values, against scipy's own intervals, and never on the unsafe side."""

from __future__ import annotations

import mpmath as mp
import numpy as np
import pytest
from high_precision import everything, golden
from scipy.stats import binomtest

from rsctl.certificates.bounds import gaussian_radius, lower, one_minus_lower, upper

ROWS = golden("bounds")


def values(name: str) -> np.ndarray:
    return np.array([row[name] for row in ROWS])


K, N, ALPHA = values("k"), values("n"), values("alpha").astype(float)


def safe_side(found: np.ndarray, exact: list[str], sign: int, relative: float) -> None:
    """`found` lies beyond `exact` in the direction of `sign`, by at most `relative` of it. Compared at 40 digits."""
    for index, (value, reference) in enumerate(zip(found.tolist(), exact, strict=True)):
        difference = sign * (mp.mpf(value) - mp.mpf(reference))
        where = f"k = {K[index]}, n = {N[index]}, alpha = {ALPHA[index]}: {value} against {reference}"
        assert difference >= 0, f"on the unsafe side: {where}"
        assert difference <= relative * abs(mp.mpf(reference)), f"too far off: {where}"


def test_the_lower_bound_is_the_40_digit_one_never_above_it() -> None:
    safe_side(lower(K, N, ALPHA), [row["lower"] for row in ROWS], -1, 1e-9)


def test_its_complement_keeps_its_digits_and_is_never_below() -> None:
    safe_side(one_minus_lower(K, N, ALPHA), [row["one_minus_lower"] for row in ROWS], +1, 1e-9)


def test_the_upper_bound_is_never_below_the_40_digit_one() -> None:
    safe_side(upper(N - K, N, ALPHA), [row["one_minus_lower"] for row in ROWS], +1, 1e-9)


def test_bounds_that_are_looked_up_are_those_that_are_computed() -> None:
    # Many images of one n share an inversion per k; the values above, in rows long enough for that.
    for n in (10, 1000, 100_000):
        here = (n == N) & (ALPHA <= 0.05)
        k, alpha = np.tile(K[here], 20), np.tile(ALPHA[here], 20)
        assert len(k) >= 256
        for found in (one_minus_lower(k, n, alpha), one_minus_lower(k, n, alpha)):
            np.testing.assert_array_equal(found, np.tile(one_minus_lower(K[here], n, ALPHA[here]), 20))
        np.testing.assert_array_equal(upper(n - k, n, alpha), np.tile(upper(n - K[here], n, ALPHA[here]), 20))


@pytest.mark.parametrize("alphas", [[0.001], [0.001, 0.0007], [0.001, 0.0007, 1e-6]])
def test_each_image_is_bounded_at_its_own_share_of_alpha(alphas: list[float]) -> None:
    k, alpha = np.tile(np.arange(700, 1001), 3)[:900], np.resize(alphas, 900)
    one_by_one = [float(one_minus_lower(a, 1000, b)) for a, b in zip(k, alpha, strict=True)]
    np.testing.assert_array_equal(one_minus_lower(k, 1000, alpha), one_by_one)
    np.testing.assert_array_equal(
        one_minus_lower(k.reshape(30, 30), 1000, alpha.reshape(30, 30)).ravel(), one_by_one
    )


def test_a_table_of_several_n_is_bounded_image_by_image() -> None:
    n = np.repeat([5000, 100, 1000], 200)
    k = (n * np.random.default_rng(0).uniform(0.5, 1, len(n))).astype(np.int64)
    one_by_one = [float(one_minus_lower(a, b, 0.001)) for a, b in zip(k, n, strict=True)]
    np.testing.assert_array_equal(one_minus_lower(k, n, 0.001), one_by_one)


@pytest.mark.parametrize("sigma", [0.12, 0.25, 1.0, 3.0])
def test_a_radius_is_never_above_the_40_digit_one(sigma: float) -> None:
    found = gaussian_radius(one_minus_lower(K, N, ALPHA), sigma)
    for index, row in enumerate(ROWS):
        if row["quantile"] is not None and mp.mpf(row["quantile"]) > 1e-9:
            difference = mp.mpf(sigma) * mp.mpf(row["quantile"]) - mp.mpf(float(found[index]))
            assert 0 <= difference <= 1e-8 * sigma, (row, float(found[index]))


@pytest.mark.parametrize(
    ("n", "cap"), [(1_000, 2.463), (10_000, 3.199), (100_000, 3.811), (1_000_000, 4.347)]
)
def test_the_largest_radius_at_alpha_0_001_is_the_known_one(n: int, cap: float) -> None:
    assert float(gaussian_radius(one_minus_lower(n, n, 0.001), 1.0)) == pytest.approx(cap, abs=0.001)


@pytest.mark.parametrize("n", [1, 7, 100, 5_000])
@pytest.mark.parametrize("alpha", [0.05, 0.001])
def test_both_bounds_are_those_of_scipy(n: int, alpha: float) -> None:
    for k in {0, 1, n // 2, n - 1, n}:
        greater = binomtest(k, n, alternative="greater").proportion_ci(1 - alpha, "exact").low
        less = binomtest(k, n, alternative="less").proportion_ci(1 - alpha, "exact").high
        assert float(lower(k, n, alpha)) == pytest.approx(greater, rel=1e-8, abs=1e-11)
        assert float(upper(k, n, alpha)) == pytest.approx(less, rel=1e-8, abs=1e-11)


def test_bounds_move_the_right_way() -> None:
    k = np.arange(0, 1001)
    assert (np.diff(lower(k, 1000, 0.001)) > 0).all()
    assert (np.diff(upper(k, 1000, 0.001)) >= 0).all()
    assert (np.diff(lower(900, 900 + np.arange(1000), 0.001)) < 0).all()
    alphas = np.geomspace(1e-12, 0.5, 60)
    assert (np.diff(lower(900, 1000, alphas)) > 0).all()
    assert (lower(k, 1000, 0.5) <= upper(k, 1000, 0.5)).all()


def test_no_draws_say_nothing() -> None:
    assert float(lower(0, 0, 0.001)) == 0
    assert float(upper(0, 0, 0.001)) == 1


@pytest.mark.long
def test_the_stored_values_are_what_the_script_computes() -> None:
    for part, rows in everything().items():
        assert rows == golden(part), part
