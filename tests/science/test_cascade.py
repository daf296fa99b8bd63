"""The cascade of noise levels: exact failure probabilities, closed-form truth, 40 digits, and what it refuses."""

from __future__ import annotations

import time
from dataclasses import replace

import mpmath as mp
import numpy as np
import pytest
from enumeration import outcomes, probabilities
from high_precision import lower, minus_quantile, upper
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from rsctl.certificates import ABSTAIN, Certified, CountTable, find_certificate
from rsctl.certificates.cascade import Cascade
from rsctl.certificates.runner_up import split
from rsctl.errors import RefusedError

Floats = NDArray[np.float64]
PILOTS = [
    ([100, 0, 0], [100, 0, 0]),
    ([50, 40, 10], [90, 5, 5]),
    ([40, 60, 0], [70, 30, 0]),
    ([0, 0, 9], [1, 5, 3]),
]


def level(counts: NDArray[np.int64], selection: list[int], sigma: float) -> CountTable:
    rows = np.broadcast_to(np.array(selection), counts.shape)
    return CountTable(rows, counts, counts.sum(axis=1), sigma, 3072)


def true_radius(p: list[Floats], sigmas: tuple[float, ...], taus: tuple[float, ...], chosen: int) -> float:
    """The largest radius that holds for class `chosen` with the probabilities known: each Φ⁻¹(p) moves by r/σ at most, and can.

    Level k keeps the class if its own probability stays above τ, or if no other class's exceeds τ and the rest keeps it.
    """
    z = [ndtri(one) for one in p]
    others = [np.delete(one, chosen).max() for one in z]
    radius = sigmas[-1] * (z[-1][chosen] - others[-1]) / 2
    for k in reversed(range(len(taus))):
        alone = sigmas[k] * (z[k][chosen] - ndtri(taus[k]))
        radius = max(alone, min(radius, sigmas[k] * (ndtri(taus[k]) - others[k])))
    return float(radius)


def failure(
    cascade: Cascade, tables: list[CountTable], weights: Floats, p: list[Floats], alpha: float
) -> float:
    """Probability of a claim that isn't true; row by row of the tables."""
    found = cascade.certify(tables, alpha)
    true = [true_radius(p, cascade.sigmas, cascade.taus, c) for c in range(tables[0].counts.shape[1])]
    wrong = (found.predicted >= 0) & (found.radius > np.array(true)[found.predicted] + 1e-10)
    return float(weights[wrong].sum())


def corners(generator: np.random.Generator, taus: tuple[float, ...], count: int) -> list[Floats]:
    """Probabilities of three classes, many of them at a threshold, at ½ or tied: where a claim is about to become false."""
    tau = taus[0]
    special = [
        [tau, 1 - tau, 0], [tau - 0.01, 1.01 - tau, 0], [0.5, 0.5, 0], [0.5, 0.3, 0.2], [0.34, 0.33, 0.33], [tau, (1 - tau) / 2, (1 - tau) / 2],
        [1 - tau, tau, 0], [0.98, 0.01, 0.01], [0.01, 0.98, 0.01], [tau + 0.02, 0.98 - tau, 0],
    ]  # fmt: skip
    random = [generator.dirichlet(generator.choice([0.3, 1, 3], 3)) for _ in range(count)]
    return [np.clip(np.array(one) / np.sum(one), 1e-12, 1) for one in special + random]


@pytest.mark.parametrize(
    ("sigmas", "taus"), [((0.25, 0.5), (0.9,)), ((1.0, 0.5), (0.6,)), ((0.5, 0.5), (0.5,))]
)
def test_it_fails_with_probability_alpha_at_most_with_independent_noise(
    sigmas: tuple[float, ...], taus: tuple[float, ...]
) -> None:
    alpha, cascade, generator = 0.05, Cascade(sigmas, taus), np.random.default_rng(0)
    counts = outcomes(14, 3)
    first, second = np.repeat(counts, len(counts), 0), np.tile(counts, (len(counts), 1))
    points = corners(generator, taus, 12)
    tables = {i: [level(first, a, sigmas[0]), level(second, b, sigmas[1])] for i, (a, b) in enumerate(PILOTS)}
    law = probabilities(counts, np.array(points))
    worst = 0.0
    for i, pair in tables.items():
        found = cascade.certify(pair, alpha)
        for a, p in enumerate(points):
            for b, q in enumerate(points):
                true = np.array([true_radius([p, q], sigmas, taus, c) for c in range(3)])
                wrong = (found.predicted >= 0) & (found.radius > true[found.predicted] + 1e-10)
                if wrong.any():
                    worst = max(
                        worst, float((wrong.reshape(len(counts), -1) * np.outer(law[a], law[b])).sum())
                    )
        assert i >= 0
    assert worst <= alpha
    assert worst > 0.1 * alpha  # the bound is used up to a good part: a test that can fail


def test_it_fails_with_probability_alpha_at_most_with_the_very_same_noise() -> None:
    """One draw falls into one of nine cells: its class at level 1 and its class at level 2."""
    alpha, sigmas, taus = 0.05, (0.25, 0.5), (0.7,)
    cascade, generator = Cascade(sigmas, taus), np.random.default_rng(1)
    cells = outcomes(7, 9)
    grid = cells.reshape(-1, 3, 3)
    for first, second in PILOTS:
        tables = [level(grid.sum(axis=2), first, sigmas[0]), level(grid.sum(axis=1), second, sigmas[1])]
        for _ in range(25):
            joint = generator.dirichlet(np.full(9, generator.choice([0.1, 0.3, 1.0])))
            joint = np.clip(joint, 1e-12, 1) / np.clip(joint, 1e-12, 1).sum()
            p = [joint.reshape(3, 3).sum(axis=1), joint.reshape(3, 3).sum(axis=0)]
            weights = probabilities(cells, joint[None])[0]
            assert failure(cascade, tables, weights, p, alpha) <= alpha


def test_three_levels_fail_with_probability_alpha_at_most() -> None:
    alpha, sigmas, taus = 0.05, (0.25, 0.5, 1.0), (0.8, 0.6)
    cascade, generator = Cascade(sigmas, taus), np.random.default_rng(2)
    counts = outcomes(24, 2)
    rows = np.stack(np.meshgrid(*[np.arange(len(counts))] * 3, indexing="ij"), -1).reshape(-1, 3)
    tables = [level(counts[rows[:, k]], [60, 40], sigmas[k]) for k in range(3)]
    for _ in range(20):
        p = [
            np.array([a, 1 - a])
            for a in np.clip(
                generator.choice([0.5, 0.6, 0.8, 0.9, 0.3], 3) + generator.normal(0, 0.03, 3), 0.01, 0.99
            )
        ]
        law = probabilities(counts, np.array(p))
        weights = law[0][rows[:, 0]] * law[1][rows[:, 1]] * law[2][rows[:, 2]]
        assert failure(cascade, tables, weights, p, alpha) <= alpha


def test_linear_levels_are_certified_no_farther_than_the_cascade_keeps_its_class() -> None:
    """Two half-planes per level in the plane: g is known everywhere, and its nearest change is looked for in all directions."""
    generator, sigmas, n = np.random.default_rng(3), (0.25, 0.5), 10_000_000
    certified, close = 0, 0
    angles = np.linspace(0, 2 * np.pi, 720, endpoint=False)
    circle = np.stack([np.cos(angles), np.sin(angles)], 1)
    for _ in range(400):
        tau = float(generator.choice([0.5, 0.6, 0.9]))
        normals = generator.normal(size=(2, 2))
        normals /= np.linalg.norm(normals, axis=1, keepdims=True)
        offsets = generator.normal(size=2) * 0.3

        def g(
            points: Floats, tau: float = tau, w: Floats = normals, b: Floats = offsets
        ) -> NDArray[np.int64]:
            p = [ndtr((points @ w[k] + b[k]) / sigmas[k]) for k in range(2)]
            first = np.where(p[0] > tau, 1, np.where(1 - p[0] > tau, 0, -1))
            return np.where(first >= 0, first, (p[1] > 0.5).astype(np.int64))

        p = [float(ndtr(offsets[k] / sigmas[k])) for k in range(2)]
        ones = [int(n * one) for one in p]
        tables = [
            level(np.array([[n - k, k]]), [n - k, k], sigma) for k, sigma in zip(ones, sigmas, strict=True)
        ]
        found = Cascade(sigmas, (tau,)).certify(tables, 0.001)
        if found.predicted[0] == ABSTAIN:
            continue
        certified += 1
        for share in (0.25, 0.5, 0.75, 0.9999):
            assert (g(circle * found.radius[0] * share) == found.predicted[0]).all()
        close += (g(circle * (found.radius[0] + 0.02)) != found.predicted[0]).any()
    assert certified > 300
    # Tight where one level's own bound binds, as with parallel lines.
    assert close > 50


def by_hand(
    cascade: Cascade, counts: list[list[int]], selection: list[list[int]], alpha: float
) -> tuple[int, mp.mpf]:
    """The rules once more, one image at a time, in 40 digits, with tails summed term by term."""
    share, cls, radius = mp.mpf(alpha) / (2 * len(counts) - 1), -1, mp.mpf(0)
    for k in reversed(range(len(counts))):
        n, sigma = sum(counts[k]), mp.mpf(cascade.sigmas[k])
        chosen = selection[k].index(max(selection[k]))
        own, second = counts[k][chosen], max(c for i, c in enumerate(counts[k]) if i != chosen)
        if k == len(counts) - 1:
            part = mp.mpf(
                float(split(np.array([selection[k]]), np.array([n]), alpha / (2 * len(counts) - 1))[0])
            )
            low = lower(own, n, share * part)
            high = 1 - low if part == 1 else min(1 - low, upper(second, n, share * (1 - part)))
            found = (
                sigma / 2 * (minus_quantile(high) - minus_quantile(low))
                if low > 0 and high < 1
                else mp.mpf(0)
            )
            cls, radius = (chosen, found) if found > 0 else (-1, mp.mpf(0))
            continue
        low, up = lower(own, n, share), upper(max(counts[k]), n, share)
        z = -minus_quantile(mp.mpf(cascade.taus[k]))
        options = [(mp.mpf(0), -1)]
        if low > cascade.taus[k]:
            options.append((sigma * (-minus_quantile(low) - z), chosen))
        worst = min(1 - low, up)
        if cls == chosen and worst <= cascade.taus[k]:
            options.append((min(radius, sigma * (z + minus_quantile(worst))), chosen))
        if cls >= 0 and up <= cascade.taus[k]:
            options.append((min(radius, sigma * (z + minus_quantile(up))), cls))
        radius, cls = max(options)
    return cls, radius


def random_tables(count: int, draws: int) -> tuple[Cascade, list[list[list[int]]], list[list[list[int]]]]:
    generator = np.random.default_rng(4)
    counts, selection = [], []
    for _ in range(count):
        favourite = generator.integers(3)
        parts = []
        for _level in range(3):
            weights = np.full(3, 0.4)
            weights[favourite if generator.random() < 0.8 else generator.integers(3)] = generator.choice(
                [1, 5, 30]
            )
            p = generator.dirichlet(weights)
            parts.append((generator.multinomial(draws, p).tolist(), generator.multinomial(20, p).tolist()))
        counts.append([one[0] for one in parts])
        selection.append([one[1] for one in parts])
    return Cascade((0.25, 0.5, 1.0), (0.8, 0.6)), counts, selection


@pytest.mark.parametrize("count", [24, pytest.param(2000, marks=pytest.mark.long)])
def test_radii_are_those_of_40_digits_and_never_above_them(count: int) -> None:
    cascade, counts, selection = random_tables(count, 60)
    tables = [
        CountTable(
            np.array(selection)[:, k], np.array(counts)[:, k], np.full(count, 60), cascade.sigmas[k], 3072
        )
        for k in range(3)
    ]
    found = cascade.certify(tables, 0.01)
    kinds = set()
    for i in range(count):
        cls, radius = by_hand(cascade, counts[i], selection[i], 0.01)
        assert found.predicted[i] == cls, i
        assert 0 <= radius - mp.mpf(float(found.radius[i])) < 1e-9, i
        kinds.add(int(cls))
    assert kinds == {-1, 0, 1, 2}


def test_an_image_is_certified_alike_among_any_others_and_by_every_rule() -> None:
    cascade = Cascade((0.25, 0.5), (0.9,))
    one = {  # level 1, level 2 → class; which rule applies
        "decides": ([9990, 10, 0], [100, 0, 0], [5000, 4990, 10], [50, 50, 0], 0),
        "agrees": ([8000, 1500, 500], [80, 15, 5], [9900, 50, 50], [99, 1, 0], 0),
        "passes": ([3000, 4000, 3000], [30, 40, 30], [9900, 50, 50], [99, 1, 0], 0),
        "neither": ([9000, 1000, 0], [90, 10, 0], [100, 9800, 100], [1, 98, 1], ABSTAIN),
    }
    tables = [
        CountTable(np.array([v[1] for v in one.values()]), np.array([v[0] for v in one.values()]), np.full(4, 10_000), 0.25, 3072),
        CountTable(np.array([v[3] for v in one.values()]), np.array([v[2] for v in one.values()]), np.full(4, 10_000), 0.5, 3072),
    ]  # fmt: skip
    found = cascade.certify(tables, 0.001)
    assert found.predicted.tolist() == [v[4] for v in one.values()]
    for row in range(4):
        alone = cascade.certify([cut(table, slice(row, row + 1)) for table in tables], 0.001)
        assert alone.radius[0] == found.radius[row]


def cut(table: CountTable, rows: slice) -> CountTable:
    return replace(
        table, selection_counts=table.selection_counts[rows], counts=table.counts[rows], n=table.n[rows]
    )


def test_a_later_level_that_agrees_carries_farther_than_either_threshold() -> None:
    """An image that level 1 passes on to no other class than its own needs no decision there: the last level's radius holds."""
    counts = [np.array([[990, 5, 5]]), np.array([[999, 1, 0]])]
    tables = [level(counts[0], [99, 1, 0], 0.5), level(counts[1], [100, 0, 0], 0.25)]
    found = Cascade((0.5, 0.25), (0.7,)).certify(tables, 0.001)
    alone = Cascade((0.5, 0.25), (0.7,)).certify(
        [level(np.array([[300, 400, 300]]), [30, 40, 30], 0.5), tables[1]], 0.001
    )
    assert found.radius[0] > alone.radius[0] > 0


def test_a_level_that_always_passes_leaves_the_last_level_s_own_bound() -> None:
    """At its share of alpha, with the split that its selection draws chose."""
    pilots = np.array([[100, 0, 0, 0, 0], [50, 50, 0, 0, 0], [60, 20, 20, 0, 0]])
    first = level(np.full((3, 5), 2000), [1, 0, 0, 0, 0], 5.0)
    last = level(np.tile([5100, 3000, 1000, 500, 400], (3, 1)), [1, 0, 0, 0, 0], 0.5)
    last = replace(last, selection_counts=pilots)
    found = Cascade((5.0, 0.5), (0.9,)).certify([first, last], 0.003)
    alone = find_certificate("runner-up").certify(last, 0.003 / 3)
    np.testing.assert_array_equal(found.radius, alone.radius)
    assert len(set(alone.radius)) > 1


def test_the_class_of_each_level_is_the_one_its_selection_draws_chose() -> None:
    one = level(np.array([[9990, 10]]), [1, 99], 0.25)
    other = level(np.array([[9990, 10]]), [99, 1], 0.5)
    cascade = Cascade((0.25, 0.5), (0.9,))
    assert cascade.certify([one, other], 0.001).predicted[0] == ABSTAIN
    assert cascade.certify([replace(other, sigma=0.25), replace(one, sigma=0.5)], 0.001).predicted[0] == 0
    assert cascade.certify([replace(other, sigma=0.25), other], 0.001).predicted[0] == 0
    torn = level(np.array([[5000, 5000]]), [1, 1], 0.25)
    assert cascade.certify([torn, other], 0.001).predicted[0] == 0
    assert cascade.certify([torn, replace(one, sigma=0.5)], 0.001).predicted[0] == ABSTAIN


def test_what_it_refuses() -> None:
    counts = np.array([[90, 10]])
    good = [level(counts, [9, 1], 0.25), level(counts, [9, 1], 0.5)]
    cascade = Cascade((0.25, 0.5), (0.9,))
    assert isinstance(cascade.certify(good, 0.001), Certified)
    for bad, match in [
        ([good[1], good[0]], "are not the levels"),
        ([good[0], replace(good[1], dimension=784)], "same images and classes"),
        ([good[0], level(np.array([[90, 5, 5]]), [9, 1, 0], 0.5)], "same images and classes"),
        (
            [replace(good[0], label=np.array([0])), replace(good[1], label=np.array([1]))],
            "label the same images",
        ),
        ([good[0], replace(good[1], noise="uniform")], "gaussian noise"),
        ([good[0], replace(good[1], stopping="certify-at-radii")], "fixed n"),
        ([good[0], replace(good[1], arithmetic="exact")], "exact arithmetic"),
    ]:
        with pytest.raises(RefusedError, match=match):
            cascade.certify(bad, 0.001)
    for sigmas, taus, match in [
        ((0.25,), (), "two levels"),
        ((0.25, 0.5), (0.9, 0.9), "thresholds"),
        ((0.25, 0.5), (0.4,), "outside"),
    ]:
        with pytest.raises(RefusedError, match=match):
            Cascade(sigmas, taus)


def test_exact_tables_pay_their_departure_of_every_level() -> None:
    counts = np.array([[9900, 100]])
    tables = [replace(level(counts, [99, 1], sigma), arithmetic="exact") for sigma in (0.25, 0.5)]
    plain = [replace(table, arithmetic="float") for table in tables]
    cascade = Cascade((0.25, 0.5), (0.9,))
    assert 0 < cascade.certify(plain, 0.001).radius[0] - cascade.certify(tables, 0.001).radius[0] < 1e-3


def test_three_levels_of_ten_thousand_images_take_less_than_a_second() -> None:
    generator = np.random.default_rng(5)
    p = generator.dirichlet(np.full(10, 0.2), 10_000)
    tables = []
    for sigma in (0.25, 0.5, 1.0):
        counts = np.array([generator.multinomial(100_000, one) for one in p])
        pilots = np.array([generator.multinomial(100, one) for one in p])
        tables.append(CountTable(pilots, counts, counts.sum(axis=1), sigma, 3072))
    cascade = Cascade((0.25, 0.5, 1.0), (0.9, 0.8))
    assert "cascade of σ = 0.25 → 0.5 → 1 (τ = 0.9, 0.8)" in cascade.guarantee.label(0.001)
    start = time.process_time()
    cascade.certify(tables, 0.001)
    assert time.process_time() - start < 1
