"""DSRS in shells: quadrature, published radii, the closed form at k = 0, linear classifiers and coverage."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from enumeration import outcomes, probabilities
from high_precision import least_mass_offset
from scipy.special import betainc, gammaincinv, ndtr, ndtri
from scipy.stats import binom

from rsctl.certificates import CountTable, dsrs, find_certificate
from rsctl.certificates.dsrs import certified_shift, shell_probabilities
from rsctl.certificates.dsrs_table import (
    LARGEST_SHIFT,
    STEP,
    Shell,
    curvature,
    shell_mass,
    shells_between,
    tangents,
)
from rsctl.certificates.protocol import Shells
from rsctl.errors import RefusedError

DSRS, NEYMAN_PEARSON, COHEN = (find_certificate(name) for name in ("dsrs", "neyman-pearson", "cohen"))


def median_norm(d: int, k: int, p: float = 0.5) -> float:
    """The norm, in σ, below which the noise lies with probability p."""
    return float(np.sqrt(2 * d / (d - 2 * k) * gammaincinv(d / 2 - k, p)))


def sample_noise(d: int, k: int, count: int, seed: int = 0) -> np.ndarray:
    """(count, d): generalised Gaussian noise with σ = 1."""
    generator = np.random.default_rng(seed)
    direction = generator.normal(size=(count, d))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    return direction * np.sqrt(2 * d / (d - 2 * k) * generator.gamma(d / 2 - k, size=(count, 1)))


INNER, OUTER = shells_between((median_norm(3072, 1530),))
QUADRATURE = [
    (3072, 1530, INNER, 1.0),
    (3072, 1530, OUTER, 2.4),
    (3072, 0, Shell(0.0, 55.4), 1.0),
]


@pytest.mark.parametrize(("d", "k", "shell", "shift"), QUADRATURE)
def test_the_lines_are_the_high_precision_ones_never_above_them(
    d: int, k: int, shell: Shell, shift: float
) -> None:
    lines = tangents(d, k, shell, shift)
    index = len(lines.slope) // 2
    slope = float(lines.slope[index])
    exact = least_mass_offset(d, k, shell.low, shell.high, shift, slope)
    # A larger offset is a lower line: the quadrature's margin, and no more than that.
    assert 0.9e-10 * (1 + slope) < lines.offset[index] - exact < 1.1e-10 * (1 + slope)


@pytest.mark.long
@pytest.mark.parametrize(
    ("d", "k", "shell"),
    [
        (3072, 1530, INNER),
        (3072, 1530, OUTER),
        (3072, 1510, Shell(40.0, 60.0)),
        (3072, 0, Shell(55.4, np.inf)),
        (150528, 75260, Shell(0.0, np.inf)),
        (784, 380, Shell(27.0, np.inf)),
        (64, 0, Shell(0.0, np.inf)),
        (64, 20, Shell(7.0, 9.0)),
        (32, 0, Shell(0.0, np.inf)),
        (32, 12, Shell(0.0, 5.0)),
    ],
)
@pytest.mark.parametrize("shift", [0.02, 0.5, 3.0])
def test_more_lines_are_the_high_precision_ones(d: int, k: int, shell: Shell, shift: float) -> None:
    lines = tangents(d, k, shell, shift)
    for index in (len(lines.slope) // 3, 2 * len(lines.slope) // 3):
        slope = float(lines.slope[index])
        exact = least_mass_offset(d, k, shell.low, shell.high, shift, slope)
        assert 0.5e-10 * (1 + slope) < lines.offset[index] - exact < 1.5e-10 * (1 + slope)


@pytest.mark.parametrize("d", [32, 64, 3072, 150528])
@pytest.mark.parametrize("shift", [0.02, 0.3, 1.0, 2.5, 4.0])
def test_with_one_shell_and_gaussian_noise_it_is_the_closed_form_from_below(d: int, shift: float) -> None:
    a = np.concatenate([np.linspace(0.01, 0.99, 99), [0.999, 0.99993, 0.999999]])
    found = tangents(d, 0, Shell(0.0, np.inf), shift).lowest(a)
    exact = ndtr(ndtri(a) - shift)
    assert (found <= exact).all()
    assert (found >= exact - 1e-3).all()


@pytest.mark.parametrize(("d", "k"), [(64, 0), (64, 20), (784, 380), (3072, 1530)])
def test_shells_are_a_partition_and_hold_what_sampling_finds(d: int, k: int) -> None:
    edges = tuple(median_norm(d, k, p) for p in (0.2, 0.5, 0.9))
    masses = [shell_mass(d, k, shell) for shell in shells_between(edges)]
    np.testing.assert_allclose(masses, [0.2, 0.3, 0.4, 0.1], atol=1e-12)
    noise = sample_noise(d, k, 4000)
    inside = np.linalg.norm(noise, axis=1) <= edges[1]
    assert abs(inside.mean() - 0.5) < 0.04
    assert noise.std() == pytest.approx(1, abs=0.02)
    # Outside the shells of the table, nothing: the whole is one shell.
    assert shell_mass(d, k, Shell(0.0, np.inf)) == pytest.approx(1, abs=1e-13)


# Image, p̲ under P, and the interval under Q (‖ε‖ ≤ T, of mass ½) of the authors' samples of their CIFAR-10
# model (σ = .5, exponent 1530, T at .5; llylly/DSRS, data/sampling/cohen-cifar-1530-0.50.pth), and their radii:
# Neyman–Pearson, and DSRS on a grid of 0.01 (data/orig-radius, data/new-radius).
PUBLISHED = [
    (0, 0.8860526292913355, 0.9673380570242696, 0.9726629685512921, 0.5655722, 0.63),
    (20, 0.6415558657271313, 0.7173367975052042, 0.7312675807567861, 0.1697703, 0.17),
    (40, 0.8448601077916027, 0.9094535850181265, 0.9182067275954583, 0.4756383, 0.49),
    (50, 0.9896732402269077, 0.9958693839527202, 0.9976408916037288, 1.0901853, 1.12),
    (60, 0.99263641260362, 0.9992130705901301, 0.9998523473218889, 1.1495910, 1.25),
    (150, 0.9683603450690438, 0.9932530382717406, 0.9955786273822332, 0.8731915, 0.95),
    (4800, 0.9998341327646891, 0.9998341327646891, 1.0, 1.7005358, 1.70),
]


def test_the_published_neyman_pearson_radii_are_reproduced() -> None:
    p = np.array([[row[1]] for row in PUBLISHED])
    ours = 0.5 * certified_shift(p, 3072, 1530, shells_between(()))
    np.testing.assert_allclose(ours, [row[4] for row in PUBLISHED], atol=3e-4)


def test_the_published_dsrs_radii_are_reproduced() -> None:
    # Two runs give an interval for Q; the worst Q in it is taken, then what is left of P lies outside.
    worst = np.full(len(PUBLISHED), np.inf)
    for share in np.linspace(0, 1, 41):
        inside = np.array([0.5 * (low + share * (high - low)) for _, _, low, high, _, _ in PUBLISHED])
        outside = np.maximum(np.array([row[1] for row in PUBLISHED]) - inside, 0)
        radius = certified_shift(np.stack([inside, outside], axis=1), 3072, 1530, [INNER, OUTER])
        worst = np.minimum(worst, 0.5 * radius)
    published = np.array([row[5] for row in PUBLISHED])
    assert (worst > published - 2e-4).all()
    assert (worst < published + 0.01).all()
    # Recomputed off the grid: 0, 50 and 60.
    np.testing.assert_allclose(worst[[0, 3, 4]], [0.631, 1.122, 1.259], atol=1e-3)


def slab_probabilities(d: int, k: int, distance: np.ndarray, shells: list[Shell]) -> np.ndarray:
    """(M, S): P(ε₁ < distance, ‖ε‖ in the shell), to 1e-6, for the linear classifier."""
    columns = []
    for shell in shells:
        low, high = (shell_mass(d, k, Shell(0.0, end)) for end in (shell.low, shell.high))
        u = low + (high - low) * (np.arange(1000) + 0.5) / 1000
        rho = np.sqrt(2 * d / (d - 2 * k) * gammaincinv(d / 2 - k, u))
        cosine = np.clip(distance[:, None] / rho, -1, 1)
        columns.append((high - low) * betainc((d - 1) / 2, (d - 1) / 2, (1 + cosine) / 2).mean(axis=1))
    return np.stack(columns, axis=1)


@pytest.mark.parametrize(("d", "k"), [(64, 0), (64, 20), (3072, 1530)])
def test_a_linear_classifier_is_certified_nearly_to_its_distance_and_never_beyond(d: int, k: int) -> None:
    distance = np.array([0.1, 0.4, 1.0, 1.6])
    shells = shells_between((median_norm(d, k),))
    by_shell = certified_shift(slab_probabilities(d, k, distance, shells), d, k, shells)
    whole = shells_between(())
    at_once = certified_shift(slab_probabilities(d, k, distance, whole), d, k, whole)
    for found in (by_shell, at_once):
        assert (found <= distance + 1e-4).all()
        assert (found > 0.88 * distance - 0.002).all()
    # What is known about the norms can only help.
    assert (by_shell >= at_once - 1e-3).all()


def test_a_class_that_lives_outside_is_not_skipped_over() -> None:
    # All of the outer half and none of the inner: ½ at once, so nothing at 0 and more from afar. And just above.
    least = np.array([[0.0, 0.5], [0.003, 0.5], [0.2, 0.4], [0.5, 0.0]])
    shifts = certified_shift(least, 3072, 1530, [INNER, OUTER])
    assert shifts[0] == 0
    assert shifts[1] > 0
    h = [tangents(3072, 1530, OUTER, shift).lowest(np.array([0.5]))[0] for shift in (0.5, 1.5)]
    assert h[1] > h[0]
    assert shifts[3] == 0


@pytest.mark.parametrize(("d", "k"), [(64, 20), (3072, 1530)])
def test_between_the_tabulated_shifts_nothing_is_overstated(d: int, k: int) -> None:
    # h at the end of the walk, tabulated there, is still ½ up to the step's own accuracy.
    shells = shells_between((median_norm(d, k),))
    least = np.array([[0.45, 0.4], [0.49, 0.49], [0.3, 0.45]])
    for row, shift in zip(least, certified_shift(least, d, k, shells), strict=True):
        at = [tangents(d, k, shell, float(shift)).lowest(a)[()] for shell, a in zip(shells, row, strict=True)]
        beyond = [
            tangents(d, k, shell, float(shift) + 0.01).lowest(a)[()]
            for shell, a in zip(shells, row, strict=True)
        ]
        assert 0.5 - 1e-4 < sum(at) < 0.502
        assert sum(beyond) < 0.5


@pytest.mark.parametrize(("d", "k"), [(32, 0), (64, 0), (64, 20), (3072, 1530)])
def test_the_bound_on_the_curvature_holds_for_half_spaces(d: int, k: int) -> None:
    t = np.linspace(-4, 4, 801)
    p = slab_probabilities(d, k, t, shells_between(()))[:, 0]
    measured = np.abs(np.diff(p, 2)).max() / 0.01**2
    assert 0.2 < measured < curvature(d, k)


@pytest.mark.parametrize(("d", "k"), [(64, 0), (64, 20), (64, 28)])
def test_the_bound_on_the_curvature_holds_for_the_worst_set(d: int, k: int) -> None:
    # That set is where ∂₁²p > 0; its second derivative is the mean of (∂₁²p / p)₊ over the noise.
    noise = sample_noise(d, k, 200_000)
    rho, scale = np.linalg.norm(noise, axis=1), d / (d - 2 * k)
    cosine = noise[:, 0] / rho
    first, second = -2 * k / rho - rho / scale, 2 * k / rho**2 - 1 / scale
    ratio = (first * cosine) ** 2 + second * cosine**2 + first * (1 - cosine**2) / rho
    assert 0.4 * curvature(d, k) < np.maximum(ratio, 0).mean() < curvature(d, k)


def shell_table(counts: np.ndarray, d: int, k: int, sigma: float = 1.0) -> CountTable:
    """`counts` (N, S, C) by shell with equal masses; class 0 selected."""
    edges = tuple(
        sigma * median_norm(d, k, (number + 1) / counts.shape[1]) for number in range(counts.shape[1] - 1)
    )
    total = counts.sum(axis=1)
    selection = np.zeros_like(total)
    selection[:, 0] = 100
    noise = "generalised-gaussian" if k else "gaussian"
    shells = Shells(edges, counts)
    return CountTable(selection, total, total.sum(axis=1), sigma, d, noise, exponent=k, shells=shells)


@pytest.mark.parametrize("alpha", [0.05, 0.001])
@pytest.mark.parametrize("n", [20, 26])
def test_all_shell_bounds_hold_together_with_probability_1_minus_alpha(n: int, alpha: float) -> None:
    # Cells: right and wrong in the inner half, right and wrong in the outer half.
    cells = outcomes(n, 4)
    counts = cells.reshape(-1, 2, 2)
    shells = shells_between((median_norm(64, 20),))
    least = shell_probabilities(counts, np.zeros(len(counts), np.int64), 64, 20, shells, alpha)
    worst = 0.0
    for right_in in (0.3, 0.6, 0.8, 0.95, 0.99, 0.999):
        for right_out in (0.2, 0.5, 0.8, 0.95, 0.99):
            true = np.array([right_in, right_out]) / 2
            p = np.array([[true[0], 0.5 - true[0], true[1], 0.5 - true[1]]])
            wrong = (least > true[None, :] + 1e-12).any(axis=1)
            worst = max(worst, float((probabilities(cells, p) * wrong).sum()))
    assert 0.1 * alpha < worst <= alpha


@pytest.mark.parametrize("sigma", [0.25, 1.0])
def test_without_shells_and_exponent_it_is_certify_from_below(sigma: float) -> None:
    k = np.array([100, 99, 90, 75, 66, 60, 40])
    counts = np.stack([k, 100 - k], axis=1)
    table = CountTable(np.tile([100, 0], (7, 1)), counts, np.full(7, 100), sigma, 3072)
    ours, certify = NEYMAN_PEARSON.certify(table, 0.001), COHEN.certify(table, 0.001)
    np.testing.assert_array_equal(ours.predicted, certify.predicted)
    assert (ours.radius <= certify.radius).all()
    np.testing.assert_allclose(ours.radius, certify.radius, atol=1e-3 * sigma)
    np.testing.assert_array_equal(ours.at_cap, certify.at_cap)


def test_linear_classifiers_sampled_by_shell_are_never_certified_beyond_their_distance() -> None:
    generator = np.random.default_rng(3)
    d, k, n, alpha, sigma = 64, 20, 20_000, 0.001, 0.5
    distance = generator.uniform(0.05, 1.6, 1500)
    shells = shells_between((median_norm(d, k),))
    right = slab_probabilities(d, k, distance, shells)
    cells = np.stack([right[:, 0], 0.5 - right[:, 0], right[:, 1], 0.5 - right[:, 1]], axis=1)
    counts = np.array([generator.multinomial(n, row) for row in np.maximum(cells, 0)]).reshape(-1, 2, 2)
    certified = DSRS.certify(shell_table(counts, d, k, sigma), alpha)
    wrong = (certified.predicted == 0) & (certified.radius > sigma * distance)
    assert wrong.sum() <= binom.ppf(1 - 1e-6, len(distance), alpha)
    sure = distance > 0.2
    assert np.median((sigma * distance - certified.radius)[sure]) < 0.08 * sigma


def test_it_gains_over_one_shell_where_correctness_depends_on_the_norm() -> None:
    counts = np.array([[[4990, 10], [4000, 1000]], [[4500, 500], [4490, 510]], [[2000, 3000], [2000, 3000]]])
    table = shell_table(counts, 3072, 1530)
    by_shell, at_once = DSRS.certify(table, 0.001), NEYMAN_PEARSON.certify(table, 0.001)
    assert by_shell.radius[0] > 1.05 * at_once.radius[0]
    assert by_shell.radius[1] > 0.97 * at_once.radius[1]
    assert by_shell.predicted.tolist() == [0, 0, -1]


def test_more_successes_in_a_shell_never_shrink_a_radius() -> None:
    for shell in (0, 1):
        counts = np.tile(np.array([[[4500, 500], [4500, 500]]]), (51, 1, 1))
        counts[:, shell, 0] += np.arange(51) * 10
        counts[:, shell, 1] -= np.arange(51) * 10
        radii = DSRS.certify(shell_table(counts, 3072, 1530), 0.001).radius
        assert (np.diff(radii) > -1e-6).all()


def test_tables_it_is_not_proved_for_are_refused() -> None:
    counts = np.array([[[4900, 100], [4500, 500]]])
    table = shell_table(counts, 3072, 1530)
    with pytest.raises(RefusedError, match="proved for gaussian"):
        COHEN.certify(table, 0.001)
    with pytest.raises(RefusedError, match="split by noise norm"):
        DSRS.certify(replace(table, shells=None), 0.001)
    with pytest.raises(RefusedError, match="exponent 1533"):
        DSRS.certify(replace(table, exponent=1533), 0.001)
    with pytest.raises(RefusedError, match="at least 32"):
        DSRS.certify(replace(table, dimension=8, exponent=0), 0.001)
    with pytest.raises(RefusedError, match="uniform"):
        DSRS.certify(replace(table, noise="uniform"), 0.001)
    assert table.shells is not None
    edges = table.shells.edges
    for shells, says in (
        (Shells(edges, counts + 1), "don't sum"),
        (Shells((), counts), "don't fit"),
        (Shells((-1.0,), counts), "ascending"),
        (Shells((float("nan"),), counts), "ascending"),
        (Shells(edges, counts - np.array([[[-5000, 0], [5000, 0]]])), "negative"),
    ):
        with pytest.raises(RefusedError, match=says):
            replace(table, shells=shells)
    with pytest.raises(RefusedError, match="gaussian noise has no exponent"):
        replace(table, noise="gaussian")


@pytest.mark.parametrize("inside", [0.1, 0.3, 0.5, 0.75])
def test_a_dip_between_two_shifts_is_seen(inside: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """A least probability that bends as much as any set's can, above ½ at every tabulated shift and below it between two."""
    d, k = 3072, 1530
    middle, half = (10 + inside) * STEP, 0.8 * min(inside, 1 - inside) * STEP

    class Line:
        def __init__(self, shift: float) -> None:
            self.shift = shift

        def lowest(self, a: np.ndarray) -> np.ndarray:
            return np.full(len(a), 0.5 + curvature(d, k) / 2 * ((self.shift - middle) ** 2 - half**2))

    monkeypatch.setattr(dsrs, "tangents_at", lambda d, k, shell, node: Line(node * STEP))
    here = Line(0.0).lowest(np.zeros(2))
    least = np.array([[here[0]], [here[0] + 1e-3]])
    radius = certified_shift(least, d, k, shells_between(()))
    assert (radius <= middle - half).all()
    np.testing.assert_allclose(radius, middle - half, rtol=1e-9)


def test_nothing_is_claimed_beyond_the_largest_shift_of_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    class Certain:
        def lowest(self, a: np.ndarray) -> np.ndarray:
            return np.ones(len(a))

    monkeypatch.setattr(dsrs, "tangents_at", lambda d, k, shell, node: Certain())
    radius = certified_shift(np.array([[1.0], [0.5], [0.4]]), 3072, 0, shells_between(()))
    assert LARGEST_SHIFT * (1 - 1e-11) < radius[0] <= LARGEST_SHIFT
    assert radius[1:].tolist() == [0, 0]


def test_where_the_walk_ends_between_two_shifts() -> None:
    """The parabola that lies lowest between two excesses, e(θ) = (1 − θ) e₀ + θ e₁ − b θ(1 − θ): its first zero, from below."""
    before, after = (
        grid.ravel() for grid in np.meshgrid([1e-9, 1e-5, 1e-3, 0.1], [-0.1, -1e-9, 0.0, 1e-9, 1e-3])
    )
    for bend in (0.0, 1e-7, 1e-4, 0.01):
        share = dsrs._covered(before, after, bend)
        theta = np.linspace(0, 1, 20_001)
        excess = (1 - theta) * before[:, None] + theta * after[:, None] - bend * theta * (1 - theta)
        below = excess < 0
        first = np.where(below.any(axis=1), theta[below.argmax(axis=1)], 1.0)
        assert (share <= first).all()
        assert (share > first - 1e-4).all()
        assert (share[below.any(axis=1)] < 1).all()
        assert (share[~below.any(axis=1) & (after > 0)] == 1).all()
