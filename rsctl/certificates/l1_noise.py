"""Radii for noise with independent uniform or Laplace coordinates, made for ℓ1."""

from __future__ import annotations

import numpy as np

from rsctl.certificates.bounds import lower, one_minus_lower
from rsctl.certificates.protocol import (
    Certified,
    CountTable,
    Floats,
    Guarantee,
    abstain_unless,
    counts_of,
    instead,
    require_fixed,
    selected_classes,
    spendable,
)
from rsctl.errors import RefusedError

_DOWN = 1 - 1e-14
"""Covers the roundings of the formulas here; those of p̲ are in `bounds`."""


TEXTS = {
    ("uniform", "l1"): (
        "CERTIFY for uniform noise on ±λ, λ = √3·sigma: the radius is 2λ(p − ½), with p the lower bound on the class's probability. "
        "Two cubes of noise that are shifted by δ differ by ‖δ‖₁/2λ of their mass at most.",
        'With `noise = "uniform"`, for probabilistic radii in ℓ1.',
    ),
    ("uniform", "linf"): (
        "The same counts of uniform noise read in ℓ∞: the radius is 2λ(1 − (3/2 − p)^(1/d)) for images of d coordinates. It shrinks about "
        "as 1/d.",
        'With `noise = "uniform"`, beside `uniform-l1`; at the same sigma and probability Gaussian noise gives larger ℓ∞ radii.',
    ),
    ("laplace", "l1"): (
        "CERTIFY for Laplace noise of scale λ = sigma/√2: the radius is −λ ln(2(1 − p)), with p the lower bound on the class's "
        "probability. A shift by δ changes the noise's density by a factor of exp(‖δ‖₁/λ) at most.",
        'With `noise = "laplace"`, to compare with `uniform-l1`.',
    ),
}
"""`about` and `use_when` of each certificate."""


class L1Noise:
    """The largest radius within which p_A ≥ p̲_A keeps the class above ½, p̲_A the Clopper–Pearson bound at 1 − α.

    sigma is the standard deviation of a coordinate: λ = √3·sigma for U(−λ, λ), λ = sigma/√2 for Laplace. No
    set with probability p̲_A under the noise has less under a shift δ than (Yang et al. 2020, Table 1):

    - uniform: p̲_A less the mass outside the overlap of two cubes, 1 − Π(1 − |δ_i|/2λ)₊. That is at most ‖δ‖₁/2λ,
      so R = 2λ(p̲_A − ½) in ℓ1; and at most 1 − (1 − ‖δ‖∞/2λ)^d, so R = 2λ(1 − (3/2 − p̲_A)^{1/d}) in ℓ∞.
    - Laplace: 1 − e^{‖δ‖₁/λ}(1 − p̲_A), as the densities differ by at most that factor; R = −λ ln(2(1 − p̲_A)) in ℓ1
      (Teng et al. 2020).

    All three are reached by some classifier.
    """

    guarantee = Guarantee("probabilistic", "the smoothed classifier g")
    k = 1

    def __init__(self, noise: str, norm: str) -> None:
        self.noise, self.norm = noise, norm
        self.name = f"{noise}-{norm}"
        self.title = f"{noise.capitalize()} noise, {'ℓ1' if norm == 'l1' else 'ℓ∞'}"
        self.citation = "Yang et al. 2020: Randomized Smoothing of All Shapes and Sizes, Table 1"
        self.example = {"noise": noise}
        self.about, self.use_when = TEXTS[noise, norm]

    def certify(self, table: CountTable, alpha: float) -> Certified:
        """Radii of (N, C) counts at failure probability `alpha` per image; abstains where p̲_A ≤ ½."""
        alpha = spendable(table, alpha)
        if table.noise != self.noise:
            raise RefusedError(
                f"{self.name} is proved for {self.noise} noise; this table has '{table.noise}'.{instead(table.noise)}"
            )
        require_fixed(self.name, table)
        chosen = selected_classes(table)
        successes = counts_of(chosen, table.counts)
        q = one_minus_lower(successes, table.n, alpha)
        if self.noise == "laplace":
            radius = laplace_radius(q, table.sigma)
        elif self.norm == "l1":
            radius = uniform_l1_radius(lower(successes, table.n, alpha), table.sigma)
        else:
            if table.dimension < 1:
                raise RefusedError(
                    f"{self.name} needs the number of coordinates d of an input; this table doesn't say it."
                )
            radius = uniform_linf_radius(q, table.sigma, table.dimension)
        return abstain_unless(radius > 0, chosen, radius, successes == table.n)


def uniform_l1_radius(p: Floats, sigma: float) -> Floats:
    """2λ(p − ½), λ = √3·sigma; from p (N,), not above it by rounding."""
    return np.asarray(2 * np.sqrt(3) * sigma * (p - 0.5) * _DOWN)


def uniform_linf_radius(one_minus_p: Floats, sigma: float, dimension: int) -> Floats:
    """2λ(1 − (3/2 − p)^{1/d}), λ = √3·sigma; from 1 − p (N,), without cancellation."""
    root = np.log1p(np.minimum(one_minus_p, 0.5) - 0.5) / dimension
    return np.asarray(-2 * np.sqrt(3) * sigma * np.expm1(root) * _DOWN)


def laplace_radius(one_minus_p: Floats, sigma: float) -> Floats:
    """−λ ln(2(1 − p)), λ = sigma/√2; from 1 − p (N,), without cancellation."""
    return np.asarray(-sigma / np.sqrt(2) * np.log(2 * one_minus_p) * _DOWN)


CERTIFICATES = (L1Noise("uniform", "l1"), L1Noise("uniform", "linf"), L1Noise("laplace", "l1"))
