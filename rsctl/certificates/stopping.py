"""Stopping rules of sequential tables: when to look, what each look may spend of α, and whether to go on.

A rule looks at the counts after numbers of draws fixed beforehand and gives each look a fixed share of α.
By the union bound over the looks, all their Clopper–Pearson bounds hold together with probability 1 − α,
whenever sampling stops and for whatever reason; so a rule decides about cost, never about soundness.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rsctl.certificates.bounds import gaussian_radius, lower, one_minus_lower, upper
from rsctl.certificates.protocol import Bools, Floats, Ints, require_alpha
from rsctl.errors import InputError, unknown


@dataclass(frozen=True)
class CertifyAtRadii:
    """Draw until it is settled, for each of some radii, whether the image is certified there.

    Looks at 100 · 1.3^i draws up to n, α/K each (28 looks for n = 100,000). The curve of certified accuracy is
    valid at every radius; between and beyond the ones named here it stops short of what n draws would give.
    """

    radii: tuple[float, ...]
    """In the units of the images; 0 asks for the prediction alone."""
    sigma: float
    alpha: float
    n: int
    """The most draws."""
    block: int = 1
    """Draws are made in blocks of so many: looks are rounded up to whole ones."""

    name = "certify-at-radii"

    def __post_init__(self) -> None:
        _check(self.sigma, self.alpha, self.n)
        if not self.radii or min(self.radii) < 0 or not np.isfinite(self.radii).all():
            raise InputError(
                f"radii = {self.radii}: '{self.name}' needs at least one, finite and not negative."
            )

    @property
    def draws(self) -> NDArray[np.int64]:
        """(K,): draws made at each look."""
        return _geometric(100, 1.3, self.n, self.block)

    def undecided(self, successes: Ints) -> Bools:
        """(M,): which images need more draws, from the chosen class's counts (M, j) at the first j looks.

        Certified at r once the bound of some look reaches it; "no" once the upper bound of the last one
        lies below it, which needs no share of α: not to claim is never wrong.
        """
        look = successes.shape[1] - 1
        if look == len(self.draws) - 1:
            return np.zeros(len(successes), np.bool_)
        spent = shares(self.name, len(self.draws))[look]
        radius = best_radius(successes, self.draws, self.name, self.alpha, self.sigma)
        p_bar = upper(successes[:, look], self.draws[look], spent * self.alpha)
        ceiling = gaussian_radius(1 - p_bar, self.sigma)
        undecided = np.zeros(len(successes), np.bool_)
        for r in self.radii:
            undecided |= ~((radius >= r) & (radius > 0)) & (ceiling >= r)
        return undecided


@dataclass(frozen=True)
class RadiusWithin:
    """Draw until the radius is probably within δ of what n draws would give.

    Looks at 200 · 2^i draws below n, which share 0.45 α, and at n, which has 0.55 α. It stops where n draws at
    the frequency seen so far would add at most δ. That is an estimate: δ is a target, not a guarantee;
    `estimated_loss` says what was achieved.
    """

    delta: float
    """In the units of the images."""
    sigma: float
    alpha: float
    n: int
    """The most draws."""
    block: int = 1
    """Draws are made in blocks of so many: looks are rounded up to whole ones."""

    name = "radius-within"

    def __post_init__(self) -> None:
        _check(self.sigma, self.alpha, self.n)
        if not 0 < self.delta < np.inf:
            raise InputError(
                f"delta = {self.delta}: '{self.name}' needs a positive distance in the units of the images."
            )

    @property
    def draws(self) -> NDArray[np.int64]:
        """(K,): draws made at each look."""
        return _geometric(200, 2.0, self.n, self.block)

    def undecided(self, successes: Ints) -> Bools:
        """(M,): which images need more draws, from the chosen class's counts (M, j) at the first j looks."""
        look = successes.shape[1] - 1
        if look == len(self.draws) - 1:
            return np.zeros(len(successes), np.bool_)
        radius = best_radius(successes, self.draws, self.name, self.alpha, self.sigma)
        last = shares(self.name, len(self.draws))[-1]
        expected = _expected_radius(
            successes[:, look], self.draws[look], self.n, last * self.alpha, self.sigma
        )
        return np.asarray(expected - radius > self.delta)


Rule = CertifyAtRadii | RadiusWithin
RULES = (CertifyAtRadii.name, RadiusWithin.name)


def make_rule(
    stopping: str, *, radii: Sequence[float], delta: float, sigma: float, alpha: float, n: int, block: int
) -> Rule | None:
    """The rule of this name; None for `fixed`. Raises InputError for one that doesn't exist or lacks its target."""
    if stopping == "fixed":
        return None
    if stopping == CertifyAtRadii.name:
        return CertifyAtRadii(tuple(radii), sigma, alpha, n, block)
    if stopping == RadiusWithin.name:
        return RadiusWithin(delta, sigma, alpha, n, block)
    raise InputError(unknown("stopping rule", stopping, ("fixed", *RULES)))


def shares(stopping: str, looks: int) -> Floats:
    """(K,): the share of α that each look of this rule may spend; they sum to 1."""
    if stopping == CertifyAtRadii.name:
        return np.full(looks, 1 / looks)
    if stopping == RadiusWithin.name:
        return np.array([1.0]) if looks == 1 else np.array([0.45 / (looks - 1)] * (looks - 1) + [0.55])
    raise InputError(unknown("stopping rule", stopping, RULES))


def best_radius(successes: Ints, draws: Ints, stopping: str, alpha: float, sigma: float) -> Floats:
    """(M,): the largest radius over the looks taken, each at its own share of alpha; 0 where none is positive.

    `successes` is (M, j): the chosen class's counts at the first j of the K looks after `draws` (K,) draws;
    a negative one stands for a look that this image didn't reach.
    """
    spent = shares(stopping, len(draws))[: successes.shape[1]] * alpha
    reached = np.maximum(successes, 0)
    q = np.where(successes >= 0, one_minus_lower(reached, draws[: successes.shape[1]], spent), 1.0)
    return np.maximum(gaussian_radius(q.min(axis=1), sigma), 0)


def estimated_loss(successes: Ints, draws: Ints, stopping: str, alpha: float, sigma: float) -> Floats:
    """(M,): about how much larger CERTIFY's radius on n fresh draws at alpha would be; at least 0.

    From the frequency at the last look an image reached (arguments as for `best_radius`): an estimate to
    print beside a table, nothing that is guaranteed.
    """
    last = (successes >= 0).sum(axis=1) - 1
    count = np.take_along_axis(successes, last[:, None], axis=1)[:, 0]
    expected = _expected_radius(count, draws[last], int(draws[-1]), alpha, sigma)
    return np.maximum(expected - best_radius(successes, draws, stopping, alpha, sigma), 0)


def _expected_radius(count: Ints, drawn: Ints, n: int, alpha: float, sigma: float) -> Floats:
    """The radius of n draws with the frequency of `count` in `drawn`; 0 where it would abstain."""
    p = lower(count / np.asarray(drawn) * n, n, alpha)
    return np.maximum(gaussian_radius(1 - p, sigma), 0)


def _geometric(first: int, ratio: float, n: int, block: int) -> NDArray[np.int64]:
    """first · ratio^i, rounded up to whole blocks, below n; then n."""
    steps = int(np.ceil(np.log(max(n / first, 1)) / np.log(ratio))) + 1
    draws = np.ceil(np.ceil(first * ratio ** np.arange(steps)) / block) * block
    looks = np.unique(draws.astype(np.int64))
    return np.append(looks[looks < n], n)


def _check(sigma: float, alpha: float, n: int) -> None:
    require_alpha(alpha)
    if not 0 < sigma < np.inf:
        raise InputError(f"sigma = {sigma}: the noise has a positive, finite sigma.")
    if n < 1:
        raise InputError(f"n = {n}: at least one draw.")
