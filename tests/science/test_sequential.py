"""Sequential tables: exact coverage by dynamic programming, the rules, and what they save on public logs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import mpmath as mp
import numpy as np
import pytest
from high_precision import minus_quantile, one_minus_lower
from scipy.special import ndtr, ndtri
from scipy.stats import binom

from rsctl.certificates import CountTable, certificates, find_certificate
from rsctl.certificates.bounds import lower
from rsctl.certificates.protocol import Looks
from rsctl.certificates.sequential import loss
from rsctl.certificates.stopping import CertifyAtRadii, RadiusWithin, Rule, best_radius, shares
from rsctl.errors import InputError, RefusedError

SEQUENTIAL, COHEN = find_certificate("sequential"), find_certificate("cohen")
REFERENCE = Path(__file__).resolve().parents[3] / "shared" / "reference"


def sample(rule: Rule, p: np.ndarray, seed: int = 0) -> CountTable:
    """Run a rule on images of success probability p (N,), as a sampler would: only the undecided ones go on."""
    generator = np.random.default_rng(seed)
    draws = rule.draws
    successes = np.full((len(p), len(draws)), -1, np.int64)
    running = np.arange(len(p))
    for look, (before, now) in enumerate(zip([0, *draws[:-1]], draws, strict=True)):
        so_far = successes[running, look - 1] if look else 0
        successes[running, look] = so_far + generator.binomial(now - before, p[running])
        running = running[rule.undecided(successes[running, : look + 1])]
    return table_of(successes, rule)


def table_of(successes: np.ndarray, rule: Rule) -> CountTable:
    """Class 1 is the selected one and has `successes` (N, K) at the looks; -1 after the last."""
    taken = successes >= 0
    n = np.where(taken, rule.draws, 0).max(axis=1)
    counts = np.where(taken[:, :, None], np.stack([rule.draws - successes, successes], axis=2), 0)
    final = np.stack([n - successes.max(axis=1), successes.max(axis=1)], axis=1)
    selection = np.tile([0, 100], (len(n), 1))
    return CountTable(
        selection, final, n, rule.sigma, 3072, stopping=rule.name, looks=Looks(rule.draws, counts)
    )


def failure(rule: Rule, p: float) -> float:
    """The exact probability that some look's radius exceeds σΦ⁻¹(p): no way of stopping can fail more often.

    Follows the number of successes from look to look, once for the paths on which a look has claimed too much
    and once for the others.
    """
    fine, failed = np.array([1.0]), np.array([0.0])
    for look, (before, now) in enumerate(zip([0, *rule.draws[:-1]], rule.draws, strict=True)):
        step = binom.pmf(np.arange(now - before + 1), now - before, p)
        fine, failed = np.convolve(fine, step), np.convolve(failed, step)
        alone = np.full((now + 1, look + 1), -1)
        alone[:, look] = np.arange(now + 1)
        claims = (
            best_radius(alone, rule.draws, rule.name, rule.alpha, rule.sigma) > rule.sigma * ndtri(p) + 1e-12
        )
        fine, failed = fine * ~claims, failed + fine * claims
    return float(failed.sum())


RULES: list[Rule] = [
    CertifyAtRadii((0.0, 0.5), 1.0, 0.05, 600),
    CertifyAtRadii((0.25,), 0.5, 0.001, 600),
    RadiusWithin(0.05, 1.0, 0.05, 1000),
    RadiusWithin(0.05, 1.0, 0.001, 1000),
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.name}-{rule.alpha}")
def test_the_largest_radius_over_the_looks_is_too_large_with_probability_alpha_at_most(rule: Rule) -> None:
    # Just below a bound of the last look, and elsewhere.
    last = np.arange(rule.draws[-1] // 2, rule.draws[-1], 37)
    tight = lower(last, rule.draws[-1], shares(rule.name, len(rule.draws))[-1] * rule.alpha) - 1e-9
    worst = max(failure(rule, float(p)) for p in [*tight[tight > 0.5], 0.55, 0.7, 0.9, 0.97, 0.99, 0.999])
    assert 0.2 * rule.alpha < worst <= rule.alpha


def test_plain_bounds_at_alpha_on_counts_that_were_stopped_fail_far_more_often() -> None:
    # Why a fixed-n certificate refuses: stopped as soon as CERTIFY at α reaches the radius just above the truth.
    rule = CertifyAtRadii((0.5,), 1.0, 0.05, 2000)
    p = float(ndtr(0.5)) - 1e-6
    reached, alive = 0.0, np.array([1.0])
    for before, now in zip([0, *rule.draws[:-1]], rule.draws, strict=True):
        alive = np.convolve(alive, binom.pmf(np.arange(now - before + 1), now - before, p))
        claims = lower(np.arange(now + 1), now, rule.alpha) >= ndtr(0.5)
        reached += float(alive[claims].sum())
        alive = alive * ~claims
    assert reached > 2 * rule.alpha


def test_radii_are_the_40_digit_ones_and_never_above_them() -> None:
    for rule in (CertifyAtRadii((0.5,), 0.5, 0.001, 1000), RadiusWithin(0.02, 0.5, 0.001, 1000)):
        paths = np.array([np.round(rule.draws * share) for share in (0.4, 0.6, 0.8, 0.99, 1.0)]).astype(
            np.int64
        )
        paths[:, 0] = rule.draws[0]  # a lucky first look, which the largest bound may well come from
        paths = np.maximum.accumulate(np.minimum(paths, rule.draws), axis=1)
        certified = SEQUENTIAL.certify(table_of(paths, rule), 0.001)
        spent = shares(rule.name, len(rule.draws))
        for path, radius in zip(paths, certified.radius, strict=True):
            exact = max(
                minus_quantile(one_minus_lower(int(k), int(n), mp.mpf(float(share)) * mp.mpf(0.001)))
                for k, n, share in zip(path, rule.draws, spent, strict=True)
            )
            assert 0 <= 0.5 * max(exact, 0) - mp.mpf(float(radius)) < 1e-9


@pytest.mark.parametrize("looks", [1, 2, 10, 28])
def test_the_shares_of_the_looks_sum_to_one(looks: int) -> None:
    for rule in ("certify-at-radii", "radius-within"):
        assert shares(rule, looks).shape == (looks,)
        assert shares(rule, looks).sum() == pytest.approx(1, abs=1e-12)
    assert shares("radius-within", 10).tolist() == [0.05] * 9 + [0.55]


def test_the_looks_are_the_geometric_ones_up_to_n() -> None:
    rule = CertifyAtRadii((0.5,), 0.25, 0.001, 100_000)
    assert (len(rule.draws), rule.draws[0], rule.draws[1], rule.draws[-1]) == (28, 100, 130, 100_000)
    assert RadiusWithin(0.02, 0.25, 0.001, 100_000).draws.tolist() == [200 * 2**i for i in range(9)] + [
        100_000
    ]
    for n in (1, 99, 100, 101, 200, 12_345):
        for draws in (CertifyAtRadii((0.5,), 1.0, 0.001, n).draws, RadiusWithin(0.1, 1.0, 0.001, n).draws):
            assert draws[-1] == n
            assert (np.diff(draws) > 0).all()


def test_certify_at_radii_stops_once_every_radius_is_settled_and_not_before() -> None:
    rule = CertifyAtRadii((0.0, 0.5), 1.0, 0.001, 100_000)
    sure, hopeless, between, start = [100], [20], [60], [75]
    assert rule.undecided(np.array([sure, hopeless, between, start])).tolist() == [False, False, True, True]
    # Certified at 0 but not yet at 0.5: goes on; after the last look nothing does.
    history = np.tile(np.round(rule.draws * 0.69).astype(np.int64), (1, 1))
    assert [bool(rule.undecided(history[:, : look + 1])[0]) for look in (5, 26, 27)] == [True, True, False]
    # What an earlier look certified stays certified.
    lucky = np.array([[100, 110]])
    assert not CertifyAtRadii((0.5,), 1.0, 0.001, 100_000).undecided(lucky)[0]


def test_radius_within_goes_on_while_the_full_n_promises_more_than_delta() -> None:
    history = np.array([[200, 400], [100, 200], [180, 360]])
    coarse, fine = (RadiusWithin(delta, 1.0, 0.001, 100_000) for delta in (1.5, 0.01))
    assert coarse.undecided(history).tolist() == [True, False, False]
    assert fine.undecided(history).tolist() == [True, False, True]


def test_what_the_full_n_promises_is_certify_s_radius_at_the_frequency_seen() -> None:
    sigma, n, alpha = 0.5, 100_000, 0.001
    history = np.array([[150, 290, 610], [196, 392, 790]])
    rule = RadiusWithin(0.1, sigma, alpha, n)
    best = best_radius(history, rule.draws, rule.name, alpha, sigma)
    fresh = sigma * ndtri(lower(history[:, -1] / 800 * n, n, 0.55 * alpha)) - best
    for image in (0, 1):
        for factor, goes_on in ((0.999, True), (1.001, False)):
            tuned = RadiusWithin(float(fresh[image]) * factor, sigma, alpha, n)
            assert tuned.undecided(history)[image] == goes_on
    # The loss that is printed is against CERTIFY at all of alpha.
    paths = np.concatenate([history, np.full((2, 7), -1)], axis=1)
    expected = sigma * ndtri(lower(history[:, -1] / 800 * n, n, alpha)) - best
    np.testing.assert_allclose(loss(table_of(paths, rule), alpha), expected, atol=1e-9)


def test_at_cap_marks_images_whose_every_draw_was_a_success() -> None:
    rule = CertifyAtRadii((0.5,), 1.0, 0.001, 200)
    paths = np.array([[100, -1, -1, -1], [100, 130, 170, 200], [100, 130, 170, 199]])
    assert SEQUENTIAL.certify(table_of(paths, rule), 0.001).at_cap.tolist() == [True, True, False]


def test_an_image_certified_at_a_radius_is_what_the_table_then_says() -> None:
    rule = CertifyAtRadii((0.0, 0.25, 0.5), 0.5, 0.001, 10_000)
    p = np.random.default_rng(1).uniform(0.3, 1, 400)
    table = sample(rule, p)
    radius = SEQUENTIAL.certify(table, 0.001).radius
    early = table.n < 10_000
    assert early.sum() > 100
    # Sampling stopped before n only with every radius settled, the refusals for good reason.
    for r in rule.radii:
        refused = early & (radius < max(r, 1e-12))
        assert (p[refused] < ndtr(r / 0.5) + 0.02).all()


def test_a_fixed_certificate_refuses_a_sequential_table_and_the_other_way_round() -> None:
    table = sample(CertifyAtRadii((0.5,), 0.5, 0.001, 1000), np.array([0.9, 0.99]))
    labelled = replace(table, label=np.array([1, 1]))
    for name, certificate in certificates().items():
        # Of splitting noise every position is counted, or it refuses: there is nothing to stop.
        if not name.startswith("sequential") and certificate.guarantee.kind != "deterministic":
            noise = getattr(certificate, "noise", "gaussian")
            with pytest.raises(RefusedError, match=r"looked at|certify-at-radii"):
                certificate.certify(replace(labelled, noise=noise), 0.001)
    fixed = replace(table, stopping="fixed", looks=None)
    for other in (fixed, replace(table, stopping="fixed"), replace(table, looks=None)):
        with pytest.raises(RefusedError, match="Use 'cohen'"):
            SEQUENTIAL.certify(other, 0.001)
    assert COHEN.certify(fixed, 0.001).radius[1] > 0


def test_looks_that_contradict_the_table_are_refused() -> None:
    table = sample(CertifyAtRadii((0.5,), 0.5, 0.001, 1000), np.array([0.72, 0.9]))
    assert table.looks is not None
    draws, counts = table.looks.draws, table.looks.counts
    assert replace(table, looks=Looks(draws, counts)).looks is not None
    falling = counts.copy()
    falling[0, 0] = [0, draws[0]]
    falling[0, 1] = [draws[1], 0]
    last = counts.copy()
    last[0, (draws <= table.n[0]).sum() - 1] += [1, -1]
    for looks, says in (
        (Looks(draws[:1], counts[:, :1]), "between two looks"),
        (Looks(draws + 1, counts), "between two looks"),
        (Looks(draws[::-1], counts), "ascending"),
        (Looks(draws, counts[:, :, :1]), "don't fit"),
        (Looks(draws, counts + 1), "don't sum"),
        (Looks(draws, falling), "falls"),
        (Looks(draws, last), "falls|aren't the table's"),
    ):
        with pytest.raises(RefusedError, match=says):
            replace(table, looks=looks)


@pytest.mark.parametrize(
    "make",
    [
        lambda: CertifyAtRadii((), 1.0, 0.001, 100),
        lambda: CertifyAtRadii((-0.1,), 1.0, 0.001, 100),
        lambda: CertifyAtRadii((0.5, np.inf), 1.0, 0.001, 100),
        lambda: CertifyAtRadii((0.5,), 0.0, 0.001, 100),
        lambda: CertifyAtRadii((0.5,), np.inf, 0.001, 100),
        lambda: CertifyAtRadii((0.5,), 1.0, 0.001, 0),
        lambda: RadiusWithin(0.0, 1.0, 0.001, 100),
        lambda: RadiusWithin(np.inf, 1.0, 0.001, 100),
        lambda: shares("until-bored", 3),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(make: Callable[[], object]) -> None:
    with pytest.raises(InputError):
        make()
    with pytest.raises(RefusedError, match="alpha"):
        CertifyAtRadii((0.5,), 1.0, 0.0, 100)
    with pytest.raises(RefusedError, match="alpha"):
        RadiusWithin(0.1, 1.0, 1.0, 100)


# Savings, on success probabilities rebuilt from public logs.


def public_log(name: str, sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """(p_A, correct) of each image of a log made with n = 100,000; abstained ones are given p_A in (0.35, 0.502)."""
    file = REFERENCE / name
    if not file.exists():
        pytest.skip(f"the public log {file} isn't here")
    rows = np.genfromtxt(file, skip_header=1, usecols=(2, 3, 4))
    p_lower = ndtr(rows[:, 1] / sigma)
    p = np.minimum(p_lower + 3.09 * np.sqrt(p_lower * (1 - p_lower) / 100_000), 1 - 1e-7)
    abstained = rows[:, 0] < 0
    p[abstained] = np.random.default_rng(0).uniform(0.35, 0.502, abstained.sum())
    return p, (rows[:, 2] == 1) & ~abstained


LOGS = [
    ("cohen2019/cifar10-resnet110-noise_0.25-sigma_0.25.tsv", 0.25),
    ("cohen2019/cifar10-resnet110-noise_0.50-sigma_0.50.tsv", 0.5),
    ("smoothadv/cifar10-resnet110-pgd10-m8-eps255-noise_0.25-sigma_0.25.tsv", 0.25),
]


@pytest.mark.parametrize(("name", "sigma"), LOGS)
def test_certifying_at_one_half_takes_a_fifteenth_of_the_draws_and_loses_under_half_a_point(
    name: str, sigma: float
) -> None:
    p, correct = public_log(name, sigma)
    table = sample(CertifyAtRadii((0.5,), sigma, 0.001, 100_000), p)
    fixed = COHEN.certify(fixed_table(p, sigma), 0.001).radius
    ours = SEQUENTIAL.certify(table, 0.001).radius
    saving = 100_000 / table.n.mean()
    lost = 100 * ((fixed[correct] >= 0.5).sum() - (ours[correct] >= 0.5).sum()) / len(p)
    print(f"{name}: {saving:.1f} times fewer draws, {lost:.2f} points lost")
    assert saving >= 15
    assert lost <= 0.5


@pytest.mark.parametrize(("name", "sigma"), LOGS[1:2])
def test_radii_within_0_02_take_a_third_of_the_draws(name: str, sigma: float) -> None:
    p, _ = public_log(name, sigma)
    table = sample(RadiusWithin(0.02, sigma, 0.001, 100_000), p)
    achieved = COHEN.certify(fixed_table(p, sigma), 0.001).radius - SEQUENTIAL.certify(table, 0.001).radius
    estimated = loss(table, 0.001)
    saving = 100_000 / table.n.mean()
    print(
        f"{name}: {saving:.1f} times fewer draws; lost {achieved.mean():.4f}, estimated {estimated.mean():.4f}"
    )
    assert saving >= 3
    assert estimated.mean() == pytest.approx(achieved.mean(), abs=0.004)
    assert achieved.mean() < 0.02


def fixed_table(p: np.ndarray, sigma: float) -> CountTable:
    k = np.random.default_rng(7).binomial(100_000, p)
    counts = np.stack([k, 100_000 - k], axis=1)
    return CountTable(np.tile([100, 0], (len(p), 1)), counts, np.full(len(p), 100_000), sigma, 3072)
