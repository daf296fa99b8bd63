"""Uniform and Laplace noise: the draws follow their law, and radii hold, and are reached, where the truth is known."""

from __future__ import annotations

from dataclasses import replace

import mpmath as mp
import numpy as np
import pytest
import torch
from enumeration import outcomes, probabilities, worst_cases
from high_precision import golden
from samplers import sampler_of
from scipy.stats import binom, kstest, laplace, uniform

from jobs.certify.sampler import ImageCounts
from jobs.noise import smoothing_noise
from jobs.random import generator
from rsctl.certificates import Certificate, CountTable, certificates, find_certificate
from rsctl.certificates.l1_noise import laplace_radius, uniform_l1_radius, uniform_linf_radius
from rsctl.errors import RefusedError

CPU = torch.device("cpu")
NAMES = ("uniform-l1", "uniform-linf", "laplace-l1")
D = 3072


def table(counts: np.ndarray, noise: str, sigma: float = 1.0, dimension: int = D) -> CountTable:
    """Class 0 chosen."""
    selection = np.zeros_like(counts)
    selection[:, 0] = 100
    return CountTable(selection, counts, counts.sum(axis=1), sigma, dimension, noise)


def two_class(
    successes: np.ndarray, n: int, noise: str, sigma: float = 1.0, dimension: int = D
) -> CountTable:
    return table(np.stack([successes, n - successes], axis=1), noise, sigma, dimension)


def law(name: str) -> str:
    return name.partition("-")[0]


def exact_radius(name: str, p: np.ndarray, sigma: float, dimension: int) -> np.ndarray:
    """From p_A itself, written down anew."""
    if name == "laplace-l1":
        return np.asarray(-sigma / np.sqrt(2) * np.log(2 - 2 * p))
    half_width = np.sqrt(3) * sigma
    if name == "uniform-l1":
        return np.asarray(half_width * (2 * p - 1))
    return np.asarray(2 * half_width * (1 - (1.5 - p) ** (1 / dimension)))


@pytest.mark.parametrize("noise", ["uniform", "laplace"])
def test_coordinates_follow_the_law_with_the_standard_deviation_sigma(noise: str) -> None:
    drawn = smoothing_noise((2000, 1, 4, 4), 0.5, 0, generator(CPU, 7, noise), noise)
    assert drawn.dtype == torch.float32
    flat = drawn.numpy().reshape(2000, 16).astype(float)
    exact = uniform(-np.sqrt(3) / 2, np.sqrt(3)) if noise == "uniform" else laplace(scale=0.5 / np.sqrt(2))
    assert exact.std() == pytest.approx(0.5)
    assert kstest(flat.ravel(), exact.cdf).pvalue > 0.001
    assert np.abs(np.cov(flat.T) / 0.25 - np.eye(16)).max() < 0.15
    assert np.isfinite(flat).all()
    # Far out too: of 3.2 million draws the largest is where it should be.
    far = smoothing_noise((100_000, 1, 4, 8), 1.0, 0, generator(CPU, 8, noise), noise).abs().max()
    expected = np.sqrt(3) if noise == "uniform" else np.log(3.2e6) / np.sqrt(2)
    assert float(far) == pytest.approx(expected, rel=1e-6 if noise == "uniform" else 0.25)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("n", [100, 100_000, 10_000_000])
def test_radii_are_the_40_digit_ones_and_never_above(name: str, n: int) -> None:
    sigma, dimension = mp.mpf("0.25"), 3072
    for row in golden("bounds"):
        if row["n"] != n or row["k"] == 0:
            continue
        q = mp.mpf(row["one_minus_lower"])
        if name == "laplace-l1":
            radius = -sigma / mp.sqrt(2) * mp.log(2 * q)
        elif name == "uniform-l1":
            radius = mp.sqrt(3) * sigma * (1 - 2 * q)
        else:
            radius = 2 * mp.sqrt(3) * sigma * (1 - (mp.mpf(1) / 2 + q) ** (mp.mpf(1) / dimension))
        certified = find_certificate(name).certify(
            two_class(np.array([row["k"]]), n, law(name), 0.25, dimension), row["alpha"]
        )
        given = mp.mpf(float(certified.radius[0]))
        if q >= 0.5:
            assert certified.predicted[0] == -1
            assert given == 0
        else:
            assert given <= radius
            assert radius - given < 1e-9


def test_the_formulas_are_rounded_down_whatever_margin_the_bounds_have() -> None:
    """From a float q, far below ½ and close to it: the margin of q̄ is 1e-12 of q, and R in ℓ∞ hardly moves with q."""
    q = np.concatenate([np.geomspace(1e-12, 0.4999, 150), 0.5 - np.geomspace(1e-12, 0.1, 50)])
    root = mp.sqrt(3)
    found = (uniform_linf_radius(q, 1.0, D), laplace_radius(q, 1.0), uniform_l1_radius(1 - q, 1.0))
    for row, one in enumerate(q.tolist()):
        exact = (
            2 * root * (1 - (mp.mpf(0.5) + one) ** (mp.mpf(1) / D)),
            -mp.log(2 * mp.mpf(one)) / mp.sqrt(2),
            2 * root * (mp.mpf(1 - one) - 0.5),
        )
        for radius, wanted in zip(found, exact, strict=True):
            assert wanted * (1 - mp.mpf(2e-14)) < mp.mpf(float(radius[row])) <= wanted


def test_in_one_coordinate_both_norms_are_the_same() -> None:
    counts = two_class(np.array([400, 700, 1000]), 1000, "uniform", dimension=1)
    l1, linf = (find_certificate(f"uniform-{norm}").certify(counts, 0.001) for norm in ("l1", "linf"))
    np.testing.assert_allclose(l1.radius, linf.radius, rtol=1e-10)
    assert linf.predicted.tolist() == l1.predicted.tolist() == [-1, 0, 0]
    with pytest.raises(RefusedError, match="number of coordinates"):
        find_certificate("uniform-linf").certify(replace(counts, dimension=0), 0.001)


@pytest.mark.parametrize("alpha", [0.05, 0.001])
@pytest.mark.parametrize(("n", "classes"), [(60, 2), (24, 3), (12, 4)])
@pytest.mark.parametrize("name", NAMES)
def test_it_fails_with_probability_alpha_at_most(name: str, n: int, classes: int, alpha: float) -> None:
    counts, p = outcomes(n, classes), worst_cases(n, classes, [alpha], 50)
    certified = find_certificate(name).certify(table(counts, law(name)), alpha)
    true = exact_radius(name, np.minimum(p[:, 0], 1 - 1e-15), 1.0, D)
    wrong = (certified.predicted >= 0)[None, :] & (certified.radius[None, :] > true[:, None] + 1e-12)
    failures = (probabilities(counts, p) * wrong).sum(axis=1)
    assert failures.max() <= alpha
    # Two classes just below a bound use alpha up.
    assert failures.max() > 0.999 * alpha


@pytest.mark.parametrize("name", ["uniform-l1", "laplace-l1"])
def test_a_cut_along_one_axis_is_certified_almost_to_its_distance_and_not_beyond(name: str) -> None:
    """f = 1[x₀ < t]: P(f = 1) is the law's distribution function at t, and the radius of g in ℓ1 is t."""
    rng, sigma, n, alpha = np.random.default_rng(1), 0.5, 20_000, 0.001
    exact = (
        uniform(-np.sqrt(3) * sigma, 2 * np.sqrt(3) * sigma)
        if name == "uniform-l1"
        else laplace(scale=sigma / np.sqrt(2))
    )
    distance = rng.uniform(0.05, 0.8, 4000)
    successes = rng.binomial(n, exact.cdf(distance))
    certified = find_certificate(name).certify(two_class(successes, n, law(name), sigma), alpha)
    assert (certified.radius > distance).sum() <= binom.ppf(1 - 1e-6, 4000, alpha)
    assert np.median(distance - certified.radius) < 0.04


def test_the_cube_radius_is_reached_by_a_classifier() -> None:
    """Not A outside the noise's cube, nor in a small part of it: shifted along the diagonal it loses ½ at R, not before."""
    sigma, d, q = 1.0, 3, 0.1
    half = np.sqrt(3) * sigma
    (radius,) = uniform_linf_radius(np.array([q]), sigma, d)
    side = half * 2 * q ** (1 / d)  # the corner that the shift moves towards, q of the cube

    def p_a(shift: float, draws: int = 2_000_000) -> float:
        x = shift + np.random.default_rng(3).uniform(-half, half, (draws, d))
        inside = (np.abs(x) <= half).all(axis=1)
        part = (x >= half - side).all(axis=1)
        return float((inside & ~part).mean())

    assert p_a(0) == pytest.approx(1 - q, abs=0.001)
    assert p_a(0.97 * radius) > 0.5
    assert p_a(1.03 * radius) < 0.5


@pytest.mark.parametrize("name", NAMES)
def test_no_box_or_half_space_loses_more_than_the_radius_allows(name: str) -> None:
    """Random axis-parallel boxes and cuts, whose probabilities are products: p at the shift is never below ½."""
    rng, sigma, d = np.random.default_rng(4), 0.7, 4
    half = np.sqrt(3) * sigma
    exact = uniform(-half, 2 * half) if law(name) == "uniform" else laplace(scale=sigma / np.sqrt(2))
    closest = 1.0
    for _ in range(3000):
        low = np.where(rng.random(d) < 0.5, -np.inf, rng.uniform(-3, 0, d))
        high = np.where(rng.random(d) < 0.5, np.inf, rng.uniform(0, 3, d))
        p = float((exact.cdf(high) - exact.cdf(low)).prod())
        outside = bool(rng.random() < 0.5)
        p = 1 - p if outside else p
        if not 0.5 < p < 1 - 1e-9:
            continue
        radius = float(exact_radius(name, np.array(p), sigma, d))
        shift = rng.exponential(size=d) if rng.random() < 0.5 else np.eye(d)[rng.integers(d)]
        shift = shift * rng.choice([-1, 1], d)
        shift *= radius / (np.abs(shift).sum() if name.endswith("l1") else np.abs(shift).max())
        after = float((exact.cdf(high - shift) - exact.cdf(low - shift)).prod())
        after = 1 - after if outside else after
        assert after >= 0.5 - 1e-9
        closest = min(closest, after - 0.5)
    assert closest < (0.05 if name == "uniform-linf" else 0.01)


@pytest.mark.parametrize("name", NAMES)
def test_edges(name: str) -> None:
    certified = find_certificate(name).certify(two_class(np.array([0, 50, 99, 100]), 100, law(name)), 0.001)
    assert certified.predicted.tolist() == [-1, -1, 0, 0]
    assert certified.at_cap.tolist() == [False, False, False, True]
    assert 0 == certified.radius[0] == certified.radius[1] < certified.radius[2] < certified.radius[3]
    one = find_certificate(name).certify(two_class(np.array([1]), 1, law(name)), 0.001)
    assert one.predicted.tolist() == [-1]
    # 1 000 classes, and one image without any count for the chosen class.
    many = np.zeros((2, 1000), np.int64)
    many[0, 0] = many[1, 7] = 1000
    assert find_certificate(name).certify(table(many, law(name)), 0.001).predicted.tolist() == [0, -1]


def test_each_noise_has_its_own_certificates() -> None:
    def takes(certificate: Certificate, noise: str) -> bool:
        try:
            certificate.certify(two_class(np.array([90]), 100, noise), 0.001)
        except RefusedError:
            return False
        return True

    for noise in ("gaussian", "uniform", "laplace"):
        taking = {name for name, certificate in certificates().items() if takes(certificate, noise)}
        if noise == "gaussian":
            assert not taking & set(NAMES)
            assert "cohen-l1" in taking
        else:
            assert taking == {name for name in NAMES if law(name) == noise}
    with pytest.raises(RefusedError, match="Use 'uniform-l1'"):
        find_certificate("runner-up").certify(two_class(np.array([90]), 100, "uniform"), 0.001)
    with pytest.raises(RefusedError, match="Use 'sequential'"):
        find_certificate("laplace-l1").certify(
            CountTable(
                np.array([[1, 0]]), np.array([[9, 1]]), np.array([10]), 1.0, D, "laplace", "certify-at-radii"
            ),
            0.001,
        )


@pytest.mark.parametrize("noise", ["uniform", "laplace"])
def test_the_sampler_draws_the_noise_it_is_told_to(noise: str) -> None:
    """A cut along one axis, counted by the sampler: the frequency is the law's, which no other law here has at both cuts."""
    sigma, n = 0.5, 20_000
    for cut in (0.2, 0.7):

        class Cut(torch.nn.Module):
            def forward(self, x: torch.Tensor, cut: float = cut) -> torch.Tensor:
                below = (x[:, 0, 0, 0] < cut).float()
                return torch.stack([below, 1 - below], dim=1)

        sampler = sampler_of(
            Cut(), 2, sigma=sigma, key=(0,), n0=100, n=n, tile=400, block=100, device=CPU, noise=noise
        )
        (image,) = [
            each
            for touched in sampler.run(
                [ImageCounts(0, 0, torch.zeros(1, 2, 2), torch.zeros(2, 2, dtype=torch.int64))]
            )
            for each in touched
            if each.done
        ]
        exact = (
            uniform(-np.sqrt(3) / 2, np.sqrt(3)) if noise == "uniform" else laplace(scale=sigma / np.sqrt(2))
        )
        assert int(image.counts[1, 0]) / n == pytest.approx(exact.cdf(cut), abs=0.012)
