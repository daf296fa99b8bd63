"""The runner-up bound: exact values, exact coverage for every split, and what it gains."""

from __future__ import annotations

import numpy as np
import pytest
from enumeration import failures, outcomes, probabilities, worst_cases
from high_precision import golden

from rsctl.certificates import CountTable, find_certificate
from rsctl.certificates.bounds import gap_radius, lower, upper
from rsctl.certificates.runner_up import SHARES, bounds, split, wilson

RUNNER_UP, COHEN = find_certificate("runner-up"), find_certificate("cohen")


def one(counts: list[int], selection: list[int], sigma: float = 1.0) -> CountTable:
    return CountTable(np.array([selection]), np.array([counts]), np.array([sum(counts)]), sigma, 3072)


def test_radii_are_the_40_digit_ones_and_never_above_them() -> None:
    for row in golden("runner-up"):
        k, second, n = (np.array([row[name]]) for name in ("k", "second", "n"))
        found = gap_radius(*bounds(k, second, n, row["alpha"], np.array([row["share"]])), 0.5)[0]
        if row["radius"] is None:
            assert found <= 0, row
        else:
            assert 0 <= 0.5 * float(row["radius"]) - found < 1e-9, row


def test_the_certificate_uses_these_bounds_at_the_split_of_its_selection_draws() -> None:
    for row in golden("runner-up"):
        counts = [row["second"], row["k"], row["n"] - row["k"] - row["second"]]
        if counts[2] <= row["second"]:
            for selection in ([0, 100, 0], [20, 60, 20], [33, 34, 33], [100, 900, 0]):
                table = one(counts, selection, sigma=0.5)
                if split(table.selection_counts, table.n, row["alpha"])[0] == row["share"]:
                    certified = RUNNER_UP.certify(table, row["alpha"])
                    assert certified.radius[0] == pytest.approx(0.5 * float(row["radius"] or 0), abs=1e-9)
                    assert certified.predicted[0] == (-1 if row["radius"] is None else 1)


def test_it_certifies_below_one_half_exactly_where_the_bounds_are_apart() -> None:
    counts, selection = [4000, 3000, 1000, 1000, 1000], [40, 30, 10, 10, 10]
    assert COHEN.certify(one(counts, selection), 0.001).predicted[0] == -1
    certified = RUNNER_UP.certify(one(counts, selection), 0.001)
    assert certified.predicted[0] == 0
    assert certified.radius[0] > 0
    share = split(np.array([selection]), np.array([10_000]), 0.001)[0]
    for second in range(3500, 4001, 5):
        apart = lower(4000, 10_000, share * 0.001) > upper(second, 10_000, (1 - share) * 0.001)
        rest = (6000 - second) // 3
        table = one([4000, second, 6000 - second - 2 * rest, rest, rest], selection)
        assert (RUNNER_UP.certify(table, 0.001).predicted[0] == 0) == apart, second


def test_the_split_is_read_off_the_selection_draws_alone() -> None:
    generator = np.random.default_rng(0)
    counts = generator.multinomial(1000, [0.5, 0.3, 0.2], 50)
    selection = np.tile([70, 20, 10], (50, 1))
    table = CountTable(selection, counts, np.full(50, 1000), 1.0, 3072)
    assert len(set(split(selection, table.n, 0.001))) == 1
    # Different pilots do choose differently, or the search would be idle.
    pilots = np.array([[100, 0, 0], [50, 50, 0], [60, 20, 20], [900, 100, 0]])
    assert len(set(split(pilots, np.full(4, 1000), 0.001))) > 1
    assert set(split(pilots, np.full(4, 1000), 0.001)) <= set(SHARES)


def test_the_split_of_an_image_does_not_depend_on_the_others() -> None:
    generator = np.random.default_rng(2)
    pilots = np.array([generator.multinomial(1000, generator.dirichlet([3, 1, 0.3])) for _ in range(300)])
    n = np.full(300, 2000)
    alone = [split(pilots[i : i + 1], n[:1], 0.001)[0] for i in range(300)]
    np.testing.assert_array_equal(split(pilots, n, 0.001), alone)
    assert len(set(alone)) > 1


def test_the_stand_in_for_clopper_pearson_is_wilson_s_interval() -> None:
    """Its ends are where p lies |z| standard deviations away. They only choose the split, which enumeration doesn't see."""
    for p, n, z in ((0.5, 100, 1.96), (0.9, 1000, -3.0), (0.99, 50, -2.0), (0.02, 400, 3.3)):
        end = float(wilson(np.array([p]), np.array([n]), np.array([z]))[0])
        assert end - p == pytest.approx(z * np.sqrt(end * (1 - end) / n), rel=1e-12)


def test_with_two_classes_it_is_certify() -> None:
    counts = np.array([[1000, 0], [900, 100], [400, 600]])
    table = CountTable(np.array([[100, 0], [90, 10], [40, 60]]), counts, counts.sum(axis=1), 0.5, 3072)
    np.testing.assert_array_equal(RUNNER_UP.certify(table, 0.001).radius, COHEN.certify(table, 0.001).radius)


# Selection draws that lead to different splits; the class is always 0.
PILOTS = [[100, 0, 0, 0, 0], [60, 40, 0, 0, 0], [34, 33, 33, 0, 0], [97, 1, 1, 1, 0], [5, 0, 0, 0, 0]]


def coverage(n: int, classes: int, alpha: float, random: int) -> list[float]:
    counts = outcomes(n, classes)
    p = worst_cases(n, classes, [share * alpha for share in (0.3, 0.5, 1.0)], random)
    return [
        failures(RUNNER_UP, counts, np.array(pilot[:classes]), alpha, p).max() / alpha for pilot in PILOTS
    ]


@pytest.mark.parametrize("alpha", [0.05, 0.001])
@pytest.mark.parametrize(("n", "classes"), [(40, 2), (24, 3), (12, 4)])
def test_it_fails_with_probability_alpha_at_most_for_every_split(n: int, classes: int, alpha: float) -> None:
    worst = coverage(n, classes, alpha, random=100)
    assert max(worst) <= 1
    assert max(worst) > 0.3


@pytest.mark.long
@pytest.mark.parametrize("alpha", [0.05, 0.01, 0.001])
@pytest.mark.parametrize(("n", "classes"), [(500, 2), (100, 3), (50, 4), (20, 5)])
def test_it_fails_with_probability_alpha_at_most_on_larger_tables(n: int, classes: int, alpha: float) -> None:
    assert max(coverage(n, classes, alpha, random=2000)) <= 1


def test_the_bound_of_the_largest_other_count_covers_the_largest_other_probability() -> None:
    # Equal rivals are where a maximum of noisy counts might seem to need a union bound.
    counts = outcomes(16, 5)
    p = np.array(
        [[0.2] * 5, [0.6, 0.1, 0.1, 0.1, 0.1], [0.3, 0.25, 0.25, 0.2, 0.0], [0.0, 0.25, 0.25, 0.25, 0.25]]
    )
    for alpha in (0.05, 0.001):
        below = upper(counts[:, 1:].max(axis=1), 16, alpha)[None, :] < p[:, 1:].max(axis=1)[:, None]
        assert (probabilities(counts, p) * below).sum(axis=1).max() <= alpha


def test_never_much_below_certify_and_far_above_it_where_the_rest_is_spread() -> None:
    generator = np.random.default_rng(1)
    p_a = generator.uniform(0.55, 0.999, 500)
    for rest, least in ((np.eye(9)[0], -0.035), (np.full(9, 1 / 9), 0.1)):
        p = np.concatenate([p_a[:, None], (1 - p_a)[:, None] * rest], axis=1)
        counts = np.array([generator.multinomial(100_000, row) for row in p])
        selection = np.array([generator.multinomial(100, row) for row in p])
        table = CountTable(selection, counts, np.full(500, 100_000), 1.0, 3072)
        gain = RUNNER_UP.certify(table, 0.001).radius - COHEN.certify(table, 0.001).radius
        assert gain.min() > least


def test_a_larger_count_of_the_class_or_a_smaller_runner_up_never_shrinks_a_radius() -> None:
    selection = [70, 20, 10]
    by_successes = [
        RUNNER_UP.certify(one([k, 200, 1000 - 200 - k], selection), 0.001).radius[0] for k in range(300, 801)
    ]
    assert (np.diff(by_successes) >= 0).all()
    by_rival = [
        RUNNER_UP.certify(one([500, r, 500 - r], selection), 0.001).radius[0] for r in range(250, 500)
    ]
    assert (np.diff(by_rival) <= 0).all()
    assert by_rival[0] > 0
