"""The noise has the distribution that certificates are proved for."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from samplers import sampler_of
from scipy.stats import chi2, kstest

from jobs.certify.sampler import ImageCounts
from jobs.noise import smoothing_noise
from jobs.random import generator
from rsctl.config.tables import shell_edges

CPU = torch.device("cpu")


def draws(exponent: int, sigma: float = 0.5) -> np.ndarray:
    key = generator(CPU, 7, "test", exponent)
    return smoothing_noise((20_000, 1, 4, 4), sigma, exponent, key).numpy().reshape(20_000, 16).astype(float)


@pytest.mark.parametrize("exponent", [0, 1, 6])
def test_norms_follow_the_law_of_the_generalised_gaussian(exponent: int) -> None:
    """‖ε‖²/s² ~ χ²(d − 2k) with s² = σ² d/(d − 2k), and σ² per coordinate."""
    noise = draws(exponent)
    freedom = 16 - 2 * exponent
    scale = 0.5**2 * 16 / freedom
    assert kstest((noise**2).sum(axis=1) / scale, chi2(freedom).cdf).pvalue > 0.001
    assert noise.var() == pytest.approx(0.25, rel=0.02)


@pytest.mark.parametrize("exponent", [0, 6])
def test_directions_are_uniform(exponent: int) -> None:
    noise = draws(exponent)
    unit = noise / np.linalg.norm(noise, axis=1, keepdims=True)
    assert np.abs(unit.mean(axis=0)).max() < 0.01
    assert np.abs(np.cov(unit.T) - np.eye(16) / 16).max() < 0.005


def test_gaussian_noise_is_a_generators_own_so_that_tables_can_be_extended() -> None:
    drawn = smoothing_noise((3, 1, 2, 2), 0.5, 0, generator(CPU, 7))
    assert torch.equal(drawn, torch.randn((3, 1, 2, 2), generator=generator(CPU, 7)) * 0.5)


def test_the_rarest_uniform_number_is_a_finite_laplace_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    """0 comes once in 2^53, and its logarithm would be infinite."""
    monkeypatch.setattr(torch, "rand", lambda shape, **options: torch.zeros(shape, dtype=options["dtype"]))
    drawn = smoothing_noise((1, 1, 1, 1), 1.0, 0, generator(CPU, 1), "laplace").item()
    assert drawn == pytest.approx(-53 * np.log(2) / np.sqrt(2), rel=1e-6)


def test_shell_edges_cut_off_the_shares_that_were_asked_for() -> None:
    for exponent in (0, 6):
        norms = np.linalg.norm(draws(exponent), axis=1)
        for share, edge in zip((0.2, 0.7), shell_edges([0.2, 0.7], 0.5, 16, exponent), strict=True):
            assert (norms <= edge).mean() == pytest.approx(share, abs=0.012)


def test_draws_are_counted_in_the_shell_of_their_own_noise() -> None:
    """A network that tells whether the noise is long: its classes and the shells must agree, draw by draw."""
    (edge,) = shell_edges([0.5], 0.5, 16, 0)

    class LongNoise(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            longer = (x.flatten(1).double().norm(dim=1) > edge).float()
            return torch.stack([1 - longer, longer], dim=1)

    sampler = sampler_of(
        LongNoise(),
        2,
        sigma=0.5,
        key=(0,),
        n0=100,
        n=1000,
        tile=200,
        block=100,
        device=CPU,
        shell_edges=[edge],
    )
    # The image is black, so what the network sees is the noise.
    images = [ImageCounts(i, 0, torch.zeros(1, 4, 4), torch.zeros(2, 2, dtype=torch.int64)) for i in range(3)]
    for _ in sampler.run(iter(images)):
        pass
    for image in images:
        shells = image.kept["shells"]["counts"]
        assert shells[0, 1] == shells[1, 0] == 0
        assert torch.equal(shells.sum(dim=0), image.counts[1])
        assert 400 < int(shells[0, 0]) < 600
