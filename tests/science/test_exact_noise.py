"""Smoothing without a rounding error: the law that is drawn, what it departs by, and what float draws do instead."""

from __future__ import annotations

import itertools
from dataclasses import replace
from fractions import Fraction

import mpmath as mp
import numpy as np
import pytest
import torch
from samplers import sampler_of
from scipy.stats import binomtest, chisquare

from jobs.certify.sampler import ImageCounts
from jobs.noise.whole_pixels import WholePixels, cells, noisy
from jobs.random import stream
from rsctl.certificates import CountTable, Looks, certificates, find_certificate
from rsctl.certificates.cohen import predict
from rsctl.certificates.exact_noise import BITS, departure, level_left, reach, weights
from rsctl.certificates.protocol import spendable
from rsctl.errors import RefusedError
from rsctl.results.clean import clean_accuracy

CPU = torch.device("cpu")
SIGMAS = (0.01, 0.12, 0.25)


def ideal(sigma: float) -> list[mp.mpf]:
    """P(M = m), |m| ≤ reach, at 60 digits: nothing of it is shared with the package."""
    with mp.workdps(60):
        scale = mp.mpf(sigma) * 255
        edges = [mp.ncdf((m - mp.mpf("0.5")) / scale) for m in range(-reach(sigma), reach(sigma) + 2)]
        return [after - before for before, after in itertools.pairwise(edges)]


@pytest.mark.parametrize("sigma", SIGMAS)
def test_weights_are_the_rounded_gaussian_and_depart_from_it_by_no_more_than_is_paid_for(
    sigma: float,
) -> None:
    drawn, wanted = weights(sigma), ideal(sigma)
    assert int(drawn.sum()) == 2**BITS
    assert (drawn >= 0).all()
    assert (drawn == drawn[::-1]).all()
    with mp.workdps(60):
        apart = [abs(mp.mpf(int(w)) / 2**BITS - p) for w, p in zip(drawn, wanted, strict=True)]
        beyond = 1 - mp.fsum(wanted)
        variation = (mp.fsum(apart) + beyond) / 2
    assert max(apart) <= mp.mpf(2) ** -BITS
    paid = departure(sigma, 1, 1)
    assert variation <= mp.mpf(paid.numerator) / paid.denominator
    # The bound is that of the worst roundings; those that happen come within a few times of it.
    assert variation > mp.mpf(paid.numerator) / paid.denominator / 20


def test_a_sigma_below_every_pixel_value_draws_none_and_takes_no_time() -> None:
    """The series that the thresholds come from has some (0.002/σ)² terms."""
    assert weights(1e-9).tolist() == [0, 2**BITS, 0]


def test_what_lies_beyond_the_reach_is_less_than_half_a_unit() -> None:
    with mp.workdps(60):
        for sigma in (0.001, 0.005, *SIGMAS, 2.0):
            assert mp.ncdf(-mp.mpf(reach(sigma)) / (255 * mp.mpf(sigma))) < mp.mpf(2) ** -(BITS + 1)


def test_half_a_unit_is_paid_for_every_threshold_and_either_end() -> None:
    for sigma in SIGMAS:
        assert departure(sigma, 1, 1) == (2 * reach(sigma) + 2) * Fraction(1, 2) / 2**BITS


def test_independent_coordinates_and_draws_add_up() -> None:
    assert departure(0.25, 3072, 100_100) == 3072 * 100_100 * departure(0.25, 1, 1)
    assert float(departure(0.25, 3072, 100_100)) == pytest.approx(3.92e-8, rel=0.01)


@pytest.mark.parametrize("sigma", SIGMAS)
def test_cells_give_every_value_its_weight_to_the_last_unit(sigma: float) -> None:
    wanted = weights(sigma)
    cutoff, other = cells(wanted)
    width = 2**BITS // len(cutoff)
    got = [0] * len(cutoff)
    for number, (own, rich) in enumerate(zip(cutoff, other, strict=True)):
        assert 0 <= own <= width
        got[number] += own
        got[rich] += width - own
    assert got == wanted.tolist() + [0] * (len(cutoff) - len(wanted))


def test_a_cell_stands_for_its_own_value_below_the_cutoff_and_for_the_other_from_there_on() -> None:
    """At both sides of every boundary: one unit too far would be seen by no statistic."""
    noise = WholePixels(0.01, CPU)
    number = torch.arange(len(noise.cutoff))
    start = number << noise.shift
    shared = noise.cutoff < 1 << noise.shift
    taken = noise.cutoff > 0
    assert torch.equal(noise.values((start + noise.cutoff - 1)[taken]), (number - noise.reach)[taken])
    assert torch.equal(noise.values((start + noise.cutoff)[shared]), (noise.other - noise.reach)[shared])
    assert torch.equal(noise.values(start[taken]), (number - noise.reach)[taken])
    last = start + (1 << noise.shift) - 1
    assert torch.equal(noise.values(last[shared]), (noise.other - noise.reach)[shared])


def test_a_generators_integers_are_whole_words_of_the_mersenne_twister() -> None:
    """NumPy's twister from the same words: uniform on 2^62 numbers means that no bit is dropped or folded."""
    key = stream(CPU, 3, "test")
    words = key.get_state().numpy()[24 : 24 + 8 * 624].view("<u8").astype(np.uint32)
    twister = np.random.MT19937()
    twister.state = {"bit_generator": "MT19937", "state": {"key": words, "pos": 624}}
    pairs = twister.random_raw(2 * 1000).reshape(-1, 2).astype(object)
    drawn = torch.empty(1000, dtype=torch.int64).random_(0, 2**BITS, generator=key).tolist()
    high_first = [int(first << 32 | second) % 2**BITS for first, second in pairs]
    low_first = [int(second << 32 | first) % 2**BITS for first, second in pairs]
    assert drawn in (high_first, low_first)


def test_draws_follow_the_weights() -> None:
    noise = WholePixels(0.03, CPU)
    drawn = noise.draw((200, 1, 32, 32), stream(CPU, 1)).double().numpy().astype(int).ravel()
    assert np.abs(drawn).max() <= reach(0.03)
    expected = weights(0.03) / 2.0**BITS * drawn.size
    seen = np.bincount(drawn + reach(0.03), minlength=len(expected))
    enough = expected >= 10
    rest = np.array([seen[~enough].sum()]), np.array([expected[~enough].sum()])
    observed, wanted = (np.append(a[enough], b) for a, b in zip((seen, expected), rest, strict=True))
    assert chisquare(observed, wanted / wanted.sum() * observed.sum()).pvalue > 1e-3


def test_what_f_sees_is_the_exact_sum() -> None:
    """Every pixel value and noises up to the largest that any sigma gives, against Python's fractions."""
    levels = torch.arange(256.0)
    noise = torch.randint(-200_000, 200_000, (256,), generator=stream(CPU, 2)).float()
    out = torch.empty(1, 1, 1, 256)
    noisy((levels / 255).view(1, 1, 256), noise.view(1, 1, 1, 256), out=out)
    for level, drawn, seen in zip(range(256), noise.tolist(), out.flatten().tolist(), strict=True):
        assert seen == float(np.float32(Fraction(level + int(drawn), 255)))


class LowBits(torch.nn.Module):
    """Class 1 where the pixel is a multiple of 2^-24: all that x + ε can be near white, and half of it or less near black."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scaled = x.flatten(1)[:, 0].double() * 2**24
        whole = (scaled == scaled.round()).float()
        return torch.stack([1 - whole, whole], dim=1)


def smoothed(level: int, arithmetic: str, n: int = 20_000) -> CountTable:
    """Counts of `LowBits` at an image of one pixel."""
    image = ImageCounts(0, 0, torch.full((1, 1, 1), level / 255), torch.zeros(2, 2, dtype=torch.int64))
    sampler = sampler_of(
        LowBits(),
        2,
        sigma=0.25,
        key=(0,),
        n0=100,
        n=n,
        tile=1000,
        block=100,
        device=CPU,
        arithmetic=arithmetic,
    )
    for _ in sampler.run([image]):
        pass
    counts = image.counts.numpy()
    return CountTable(counts[:1], counts[1:], np.array([n]), 0.25, 1, arithmetic=arithmetic)


def test_float_draws_certify_what_is_false_and_exact_ones_do_not() -> None:
    """After Voráček and Hein (2023): a classifier that reads off how x + ε was rounded.

    White is certified as class 1 well beyond a grey at which the very same smoothed classifier says 0.
    """
    cohen, distance = find_certificate("cohen"), (255 - 44) / 255
    claimed = cohen.certify(smoothed(255, "float"), 0.001)
    assert claimed.predicted[0] == 1
    assert claimed.radius[0] > distance
    assert predict(smoothed(44, "float").counts, 1e-9)[0] == 0

    sound = cohen.certify(smoothed(255, "exact"), 0.001)
    assert sound.predicted[0] == 1
    assert 0 < sound.radius[0] < distance
    assert predict(smoothed(44, "exact").counts, 1e-9)[0] == 0
    for level in range(255, 255 - int(sound.radius[0] * 255), -8):
        assert predict(smoothed(level, "exact", 2000).counts, 0.001)[0] in (1, -1)


def tables() -> list[CountTable]:
    """One that nearly every certificate takes, and one for those that need more."""
    rng = np.random.default_rng(0)
    counts = rng.multinomial(10_000, [0.9, 0.06, 0.03, 0.01], size=20)
    selection = rng.multinomial(100, [0.9, 0.06, 0.03, 0.01], size=20)
    n, label = np.full(20, 10_000), np.zeros(20, np.int64)
    plain = CountTable(
        selection, counts, n, 0.5, 3072, label=label, disagreements=counts // 500, compared=1000
    )
    clean = replace(
        plain, selection_counts=np.eye(4, dtype=np.int64)[np.zeros(20, np.int64)], selection="clean"
    )
    looks = np.array([2000, 5000, 10_000])
    rule = np.stack([counts * int(drawn) // 10_000 for drawn in looks], axis=1)
    rule[:, :2, 0] += looks[:2] - rule[:, :2].sum(axis=2)
    sequential = replace(
        plain, stopping="radius-within", looks=Looks(looks, rule), disagreements=None, compared=0
    )
    return [plain, clean, sequential]


def test_every_certificate_pays_for_the_departure_out_of_alpha() -> None:
    """Each one's radius on an exact table is that of a float table at the level that is left, and no larger than at alpha."""
    paid = []
    for table in tables():
        exact = replace(table, arithmetic="exact")
        left = spendable(exact, 1e-6)
        draws = 10_000 + int(table.selection_counts.sum(axis=1).max()) + table.compared
        assert left == level_left(1e-6, 0.5, 3072, draws)
        assert 1e-6 - left == pytest.approx(float(departure(0.5, 3072, draws)), rel=1e-6)
        for name, certificate in certificates().items():
            try:
                ours = certificate.certify(exact, 1e-6)
            except RefusedError:
                continue
            same, more = certificate.certify(table, left), certificate.certify(table, 1e-6)
            assert (ours.radius == same.radius).all(), name
            if certificate.guarantee.kind == "probabilistic" and more.radius.any():
                assert (ours.radius <= more.radius).all(), name
                assert (ours.radius < more.radius).any(), name
                paid.append(name)
    assert {
        "cohen",
        "runner-up",
        "t-certify",
        "transfer",
        "single-pass",
        "sequential",
        "cohen-linf",
        "top-3",
    } <= set(paid)


def test_predict_pays_for_it_too() -> None:
    """The clean accuracy beside a table: a p-value just below alpha, and a departure that eats up the difference."""
    counts = np.array([[140, 70]])
    table = CountTable(np.array([[7, 3]]), counts, np.array([210]), 0.5, 10**6)
    alpha = 1.001 * float(binomtest(140, 210).pvalue)
    assert float(departure(0.5, 10**6, 220)) > 0.001 * alpha
    assert clean_accuracy(table, np.array([0]), alpha) == 1
    assert clean_accuracy(replace(table, arithmetic="exact"), np.array([0]), alpha) == 0


def test_no_level_is_left_where_alpha_is_smaller_than_the_departure() -> None:
    with pytest.raises(RefusedError, match="no more than what 100100 draws in 150528 coordinates"):
        level_left(1e-7, 0.25, 150_528, 100_100)
    with pytest.raises(RefusedError, match="how many coordinates"):
        level_left(0.001, 0.25, 0, 100)
    # As much as there is to pay leaves nothing, and what is left is never rounded up.
    departs = departure(0.25, 64, 100)
    with pytest.raises(RefusedError, match="no more than what"):
        level_left(float(departs), 0.25, 64, 100)
    for alpha in (1e-9, 0.001, 0.3):
        assert 0 < Fraction(level_left(alpha, 0.25, 64, 100)) < Fraction(alpha) - departs


def test_the_label_says_in_which_arithmetic() -> None:
    guarantee = find_certificate("cohen").guarantee
    assert (
        guarantee.label(0.001, "exact")
        == guarantee.label(0.001) + ", in exact arithmetic on whole pixel values"
    )
