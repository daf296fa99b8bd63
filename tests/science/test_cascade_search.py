"""The search for a cascade, against every candidate certified one by one."""

from __future__ import annotations

import time
from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from numpy.typing import NDArray

from rsctl.certificates import CountTable
from rsctl.certificates.cascade import Cascade
from rsctl.certificates.cascade_search import CascadeObjective, search_cascade
from rsctl.certificates.runner_up import RunnerUp
from rsctl.errors import RefusedError

SIGMAS = (0.25, 0.5, 1.0)
TAUS = (0.5, 0.6, 0.75, 0.9, 0.97)
OBJECTIVES = [
    CascadeObjective(((0.5, 1.0),)),
    CascadeObjective(((0.0, 1.0), (0.3, 2.0), (0.7, 0.5))),
    CascadeObjective(),
]


def made_up(
    seed: int, images: int = 80, sigmas: tuple[float, ...] = SIGMAS, n: int = 1000
) -> tuple[list[CountTable], NDArray[np.int64]]:
    """Counts of levels that are the less often right, and the less sure, the larger σ is; labels (N,)."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 4, images)
    tables = []
    for sigma in sigmas:
        sure = generator.beta(4, 0.5 + sigma, images)
        top = np.where(generator.random(images) < 1 - 0.4 * sigma, labels, (labels + 1) % 4)
        p = np.repeat((1 - sure)[:, None] / 3, 4, axis=1)
        p[np.arange(images), top] = sure
        tables.append(
            CountTable(
                generator.multinomial(50, p), generator.multinomial(n, p), np.full(images, n), sigma, 64
            )
        )
    return tables, labels


def value(objective: CascadeObjective, predicted: NDArray[np.int64], radius: NDArray[np.float64], labels: NDArray[np.int64]) -> float:  # fmt: skip
    """The objective image by image."""
    score = [r if c == label else -1.0 for c, r, label in zip(predicted, radius, labels, strict=True)]
    if not objective.weights:
        return sum(max(one, 0.0) for one in score) / len(score)
    each = [weight * sum(one >= r for one in score) / len(score) for r, weight in objective.weights]
    return sum(each) / sum(weight for _, weight in objective.weights)


@pytest.mark.parametrize("objective", OBJECTIVES, ids=str)
def test_it_finds_what_trying_every_cascade_finds(objective: CascadeObjective) -> None:
    seeds = [made_up(0), made_up(1)]
    candidates = []
    for size in (2, 3):
        for order in permutations(range(3), size):
            for tau in TAUS:
                rule = Cascade(tuple(SIGMAS[i] for i in order), (tau,) * (size - 1))
                values = []
                for tables, labels in seeds:
                    found = rule.certify([tables[i] for i in order], 0.01)
                    values.append(value(objective, found.predicted, found.radius, labels))
                candidates.append((-round(sum(values) / 2, 9), size, order, tau))
    found = search_cascade([one[0] for one in seeds], [one[1] for one in seeds], 0.01, objective, TAUS)
    highest, _, order, tau = min(candidates)
    assert (found[0].levels, found[0].tau) == (order, tau)
    assert found[0].value == pytest.approx(-highest, abs=2e-9)
    assert len({-one[0] for one in candidates}) > 20, "candidates differ"

    alone = {}
    for i in range(3):
        each = [RunnerUp().certify(tables[i], 0.01) for tables, _ in seeds]
        alone[(i,)] = sum(
            value(objective, one.predicted, one.radius, labels)
            for one, (_, labels) in zip(each, seeds, strict=True)
        ) / 2  # fmt: skip
    assert {one.levels: pytest.approx(one.value) for one in found[1:]} == alone
    assert [one.value for one in found[1:]] == pytest.approx(sorted(alone.values(), reverse=True))


def test_of_equal_cascades_it_takes_fewer_levels_then_earlier_ones_then_the_smaller_tau() -> None:
    tables, labels = made_up(2)
    at_0 = CascadeObjective(((0.0, 1.0),))
    sure = [
        CountTable(50 * np.eye(4, dtype=np.int64)[labels], 1000 * np.eye(4, dtype=np.int64)[labels], one.n, one.sigma, 64)
        for one in tables
    ]  # fmt: skip
    best, *alone = search_cascade([sure], [labels], 0.01, at_0, TAUS)
    assert (best.levels, best.tau, best.value) == ((0, 1), 0.5, 1.0)
    assert [one.levels for one in alone] == [(0,), (1,), (2,)]


def test_it_refuses_tables_that_are_no_levels() -> None:
    tables, labels = made_up(3)
    for other, told in [
        (made_up(3, images=10)[0][1], "same images and classes"),
        (replace(tables[1], noise="uniform"), "proved for gaussian noise"),
    ]:
        with pytest.raises(RefusedError, match=told):
            search_cascade([[tables[0], other]], [labels], 0.01, OBJECTIVES[0])


@pytest.mark.long
def test_ten_thousand_images_at_four_levels_take_seconds() -> None:
    tables, labels = made_up(4, 10_000, (0.12, 0.25, 0.5, 1.0), 10_000)
    start = time.process_time()
    search_cascade([tables], [labels], 0.001, CascadeObjective())
    assert time.process_time() - start < 30
