"""The worst shifted probability in each shell of noise norms: the numbers behind `dsrs`.

In units of σ. The noise has the density p(ε) ∝ ‖ε‖^{−2k} exp(−‖ε‖²/2s²) in d dimensions with s² = d/(d − 2k),
so that a coordinate has variance 1; k = 0 is the Gaussian. t = ‖ε‖²/2s² is Gamma(d/2 − k), and the direction
is uniform: z = √d cos θ to any axis has the density ∝ (1 − z²/d)^{(d−3)/2}.

For a shift of length r and a shell S, the least probability that a set can have under p(· − δ) if it has at
least a under p, both within S, is by Lagrangian duality at least λa − G(λ) for every λ ≥ 0, with
G(λ) = ∫_S (λp − p_δ)₊; the largest of these over λ is the Neyman–Pearson value. A table therefore holds
straight lines: whichever is looked up, the result errs on the safe side.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from scipy.special import gammainc, gammaincc, gammainccinv, gammaincinv, wrightomega

from rsctl.certificates.protocol import Floats

STEP = 0.02
"""Distance of the shifts that are tabulated, in σ."""
LARGEST_SHIFT = 8.0
SMALLEST_DIMENSION = 32
"""Below it the density of z is too steep at its ends for the quadrature here; so is that of t beyond k = d/2 − 4."""

_TAIL = 1e-18  # probability left out at each end of t and of z
_Z_END = 9.0  # P(|z| > 9) < 2e-19 for a Gaussian, and z has lighter tails
_Z_STEP = 0.05
_MARGIN = (
    1e-10  # on G, per unit of 1 + λ; the quadrature is good to 1e-12, against 40 digits and against itself
)


class Shell(NamedTuple):
    """Norms in (low, high], in σ."""

    low: float
    high: float


class Tangents(NamedTuple):
    """Lines a ↦ slope · a − offset below the worst shifted probability, by ascending contact point."""

    contact: Floats
    slope: Floats
    offset: Floats

    def lowest(self, a: Floats) -> Floats:
        """A lower bound on the probability under the shift, of a set with probability a; not negative."""
        after = np.searchsorted(self.contact, a)
        near = [np.clip(after + step, 0, len(self.contact) - 1) for step in (-1, 0)]
        values = [self.slope[index] * a - self.offset[index] for index in near]
        return np.maximum(np.maximum(*values), 0.0)


def shells_between(edges: tuple[float, ...]) -> list[Shell]:
    """The shells that these ascending norms separate: one more than there are edges."""
    ends = [0.0, *edges, np.inf]
    return [Shell(low, high) for low, high in pairwise(ends)]


def shell_mass(d: int, k: int, shell: Shell) -> float:
    """P(‖ε‖ in the shell)."""
    low, high = (norm**2 / 2 * (d - 2 * k) / d for norm in shell)
    below = gammainc(d / 2 - k, high) - gammainc(d / 2 - k, low)
    above = gammaincc(d / 2 - k, low) - gammaincc(d / 2 - k, high)
    return float(min(below, above))


def curvature(d: int, k: int) -> float:
    """A bound on d²/dr² of the probability of any set under the shift r, in 1/σ²; k < d/2 − 1.

    It is at most ∫(∂₁²p)₊ = ½∫|∂₁²p|. With p = e^{ψ(ρ)} the second derivative is p times
    ψ'² c² + ψ'' c² + ψ'(1 − c²)/ρ, c = cos θ, E c² = 1/d; the expectations over t are elementary.
    """
    scale, shape = d / (d - 2 * k), d / 2 - k
    gradient = 2 / scale * (k * k / (shape - 1) + 2 * k + shape)  # E ψ'²
    bend = (k / (shape - 1) + 1) / scale  # E |ψ'|/ρ, and at least E |ψ''|
    return float((gradient / d + bend / d + bend) / 2 * (1 + 1e-9))


def tangents(d: int, k: int, shell: Shell, shift: float) -> Tangents:
    """The lines for one shell and one shift; `dsrs_cache` keeps them.

    Nodes are t (rows, Gauss–Legendre) by L = ln λ (columns). For each t the set where p_δ < λp is z < z*(t, L);
    the integrals up to z* are summed from one column to the next.
    """
    t, weight = _norms(d, k, shell)
    scale = d / (d - 2 * k)
    rho = np.sqrt(2 * scale * t)[:, None]

    end = min(_Z_END, np.sqrt(d) * (1 - 1e-12))

    def log_ratio(rho: Floats, z: Floats | float) -> Floats:
        """ln p_δ/p at norm ρ and direction z."""
        change = shift**2 - 2 * rho * shift * z / np.sqrt(d)
        return np.asarray(-k * np.log1p(change / rho**2) - change / (2 * scale))

    # L as wide as z needs at the small, middle and large norms of the shell, under p and under the shift.
    some = rho[np.searchsorted(np.cumsum(weight), np.array([0.01, 0.5, 0.99]) * weight.sum()), 0]
    reach = shift * np.sqrt(d) / some  # the shift in units of the noise as seen at that norm
    ends = [log_ratio(some, np.clip(z, -end, end)) for z in (-6.5, 6.5 + reach)]
    levels = np.arange(min(ends[0]), max(ends[1]), _Z_STEP * reach[1])
    # Where p_δ = λp: m² = ‖x − δ‖² solves ψ(m) = ψ(ρ) + L, by Wright's omega function where k > 0.
    if k:
        m_squared = 2 * k * scale * wrightomega((t / k + np.log(t / k))[:, None] - levels / k)
    else:
        m_squared = np.maximum(rho**2 - 2 * levels, 0)
    z_star = np.clip(np.sqrt(d) * (rho**2 + shift**2 - m_squared) / (2 * rho * shift), -end, end)
    # The constant of the density of z by quadrature: of gamma functions of d/2 few digits are left.
    nodes, weights = np.polynomial.legendre.leggauss(128)
    constant = 1 / (weights * end * np.exp((d - 3) / 2 * np.log1p(-((end * nodes) ** 2) / d))).sum()

    def integrals(low: Floats, high: Floats, nodes: int) -> tuple[Floats, Floats]:
        """∫ of the density of z, and of p_δ/p times it, from low to high (rows, columns)."""
        x, w = np.polynomial.legendre.leggauss(nodes)
        half = (high - low)[:, :, None] / 2
        z = low[:, :, None] + half * (1 + x)
        density = constant * np.exp((d - 3) / 2 * np.log1p(-z * z / d)) * w * half
        under_p = density.sum(axis=2)
        shifted = (density * np.exp(log_ratio(rho[:, :, None], z))).sum(axis=2)
        return under_p, shifted

    first = integrals(np.full_like(z_star[:, :1], -end), z_star[:, :1], 64)
    between = integrals(z_star[:, :-1], z_star[:, 1:], 3)
    under_p, shifted = (
        weight @ np.cumsum(np.concatenate([start, steps], axis=1), axis=1)
        for start, steps in zip(first, between, strict=True)
    )
    slope = np.exp(levels)
    offset = slope * under_p - shifted + _MARGIN * (1 + slope)
    # The margin moves the contact points by as much: its derivative in λ.
    return Tangents(np.maximum.accumulate(under_p) + _MARGIN, slope, offset)


def _norms(d: int, k: int, shell: Shell) -> tuple[Floats, Floats]:
    """Gauss–Legendre nodes t (M,) in the shell and their probabilities (M,)."""
    shape = d / 2 - k
    low, high = (norm**2 / 2 * (d - 2 * k) / d for norm in shell)
    low = max(low, float(gammaincinv(shape, _TAIL)))
    high = min(high, float(gammainccinv(shape, _TAIL)))
    # In two parts, as a Gamma of small shape is steep at one end and long at the other.
    ends = np.unique(np.clip([low, shape, high], low, high))
    x, w = np.polynomial.legendre.leggauss(36)
    half = np.diff(ends)[:, None] / 2
    t, w = (ends[:-1, None] + half * (1 + x)).ravel(), (half * w).ravel()
    # About the mean, where nothing large cancels; the constant factor follows from the mass.
    density = np.exp((shape - 1) * np.log1p((t - shape) / shape) - (t - shape)) * w
    return t, density * (shell_mass(d, k, shell) / density.sum())
