"""A cascade whose later levels leave out images: exact failure probabilities for any choice of them, and vacuous bounds without draws."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from enumeration import outcomes, probabilities
from numpy.typing import NDArray
from test_cascade import PILOTS, corners, failure, level, true_radius

from rsctl.certificates import CountTable, certificates
from rsctl.certificates import cascade as module
from rsctl.certificates.cascade import Cascade, bounds_of, deciding_radius
from rsctl.certificates.table import AS_NEEDED
from rsctl.errors import RefusedError

SIGMAS, TAUS, ALPHA = (0.25, 0.5), (0.7,), 0.05
Mask = NDArray[np.bool_]


def without(table: CountTable, left_out: Mask) -> CountTable:
    """The table as sampled without these images."""
    keep = ~left_out[:, None]
    n = np.where(left_out, 0, table.n)
    return replace(
        table,
        selection_counts=table.selection_counts * keep,
        counts=table.counts * keep,
        n=n,
        stopping=AS_NEEDED,
    )


def settled(table: CountTable, radius: float = 0.0, tau: float = TAUS[0], alpha: float = ALPHA) -> Mask:
    decided = deciding_radius(table, tau, alpha / bounds_of(2))
    return (decided > 0) & (decided >= radius)


@pytest.mark.parametrize("radius", [0.0, 0.1])
def test_it_fails_with_probability_alpha_at_most_with_the_very_same_noise(radius: float) -> None:
    """One draw falls into one of nine cells: its class at level 1 and its class at level 2."""
    cascade, alpha, generator = Cascade(SIGMAS, (0.5,)), 0.1, np.random.default_rng(1)
    cells = outcomes(9, 9)
    grid = cells.reshape(-1, 3, 3)
    skipped = 0
    for first, second in PILOTS:
        one, two = level(grid.sum(axis=2), first, SIGMAS[0]), level(grid.sum(axis=1), second, SIGMAS[1])
        left_out = settled(one, radius, 0.5, alpha)
        skipped += int(left_out.sum())
        for _ in range(5):
            joint = np.clip(generator.dirichlet(np.full(9, generator.choice([0.1, 0.3, 1.0]))), 1e-12, 1)
            joint /= joint.sum()
            p = [joint.reshape(3, 3).sum(axis=1), joint.reshape(3, 3).sum(axis=0)]
            weights = probabilities(cells, joint[None])[0]
            assert failure(cascade, [one, without(two, left_out)], weights, p, alpha) <= alpha
    assert skipped


def worst(cascade: Cascade, draws: int, more: int, *, adversary: bool = False) -> float:
    """The largest probability of an untrue claim over corners, with independent noise.

    The adversary leaves out every image whose claim would be true with the draws of all levels.
    """
    counts = outcomes(draws, 3)
    first, second = np.repeat(counts, len(counts), 0), np.tile(counts, (len(counts), 1))
    points = corners(np.random.default_rng(0), TAUS, more)[: 6 if adversary else None]
    law, found = probabilities(counts, np.array(points)), 0.0
    for a, b in PILOTS:
        one, two = level(first, a, SIGMAS[0]), level(second, b, SIGMAS[1])
        full = cascade.certify([one, two], ALPHA)
        needed = cascade.certify([one, without(two, settled(one))], ALPHA)
        for i, p in enumerate(points):
            for j, q in enumerate(points):
                true = np.array([true_radius([p, q], SIGMAS, TAUS, c) for c in range(3)])
                claim = needed
                if adversary:
                    right = full.radius <= true[full.predicted] + 1e-10
                    claim = cascade.certify([one, without(two, right)], ALPHA)
                wrong = (claim.predicted >= 0) & (claim.radius > true[claim.predicted] + 1e-10)
                if wrong.any():
                    found = max(found, float(np.outer(law[i], law[j]).ravel()[wrong].sum()))
    return found


def test_it_fails_with_probability_alpha_at_most_with_independent_noise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cascade = Cascade(SIGMAS, TAUS)
    assert 0.1 * ALPHA < worst(cascade, 20, 3) <= ALPHA
    # A slip: every bound at the whole alpha.
    monkeypatch.setattr(module, "bounds_of", lambda _levels: 1)
    assert worst(cascade, 20, 3) > ALPHA


def test_whoever_chooses_the_images_to_sample_cannot_raise_the_failure() -> None:
    assert worst(Cascade(SIGMAS, TAUS), 14, 0, adversary=True) <= ALPHA


def test_settled_images_have_the_first_rule_alone_and_all_others_the_radius_of_the_full_cascade() -> None:
    generator = np.random.default_rng(3)
    tables = []
    for sigma in (0.25, 0.5, 1.0):
        p = generator.dirichlet([3, 0.3, 0.3], 400)
        counts = np.array([generator.multinomial(200, one) for one in p])
        tables.append(level(counts, [30, 5, 5], sigma))
    cascade = Cascade((0.25, 0.5, 1.0), (0.7, 0.8))
    share = ALPHA / bounds_of(3)
    decided = [deciding_radius(one, tau, share) for one, tau in zip(tables[:2], cascade.taus, strict=True)]
    first, second = decided[0] > 0, (decided[0] > 0) | (decided[1] > 0)
    found = cascade.certify([tables[0], without(tables[1], first), without(tables[2], second)], ALPHA)
    full = cascade.certify(tables, ALPHA)
    assert all(some.any() for some in (first, second & ~first, ~second))
    assert np.array_equal(found.radius[first], decided[0][first])
    assert (found.radius <= full.radius).all()
    for name in ("predicted", "radius", "at_cap"):
        assert np.array_equal(getattr(found, name)[~second], getattr(full, name)[~second])
    assert (found.predicted == full.predicted).all()


def test_an_image_without_draws_at_any_level_has_no_claim() -> None:
    counts = np.array([[50, 0, 0], [50, 0, 0]])
    tables = [level(counts, [9, 0, 0], sigma) for sigma in SIGMAS]
    nothing = [without(one, np.array([True, False])) for one in tables]
    found = Cascade(SIGMAS, TAUS).certify(nothing, ALPHA)
    assert found.predicted.tolist() == [-1, 0]
    assert (found.radius[0], bool(found.at_cap[0])) == (0, False)


@pytest.mark.parametrize("name", list(certificates()))
def test_every_other_certificate_refuses_such_a_table(name: str) -> None:
    table = without(level(np.array([[50, 0, 0], [40, 10, 0]]), [9, 0, 0], 0.5), np.array([True, False]))
    with pytest.raises(RefusedError) as refused:
        certificates()[name].certify(table, ALPHA)
    if name in ("cohen", "runner-up", "sequential"):
        assert "Only its cascade is certified from it." in str(refused.value)


def test_exact_arithmetic_is_refused() -> None:
    table = without(level(np.array([[50, 0, 0]]), [9, 0, 0], 0.5), np.array([True]))
    one = replace(level(np.array([[50, 0, 0]]), [9, 0, 0], 0.25), arithmetic="exact")
    with pytest.raises(RefusedError, match="sampled as needed can't be in exact arithmetic"):
        Cascade(SIGMAS, TAUS).certify([one, replace(table, arithmetic="exact")], ALPHA)
