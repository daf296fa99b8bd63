"""One classifier from several noise levels, certified from the counts of each (no sampling of its own).

Level k has its own σ_k and smoothed class probabilities p^k. The cascade returns the class c with p^1_c(x) > τ_1 if there is
one; else that with p^2_c(x) > τ_2; and so on; the last level returns argmax_c p^K_c(x). With τ ≥ ½ at most one class exceeds it.

Bounds of level k, z = Φ⁻¹: L ≤ p_A of the class A that its selection draws chose, and U ≥ max_c p_c from the largest count
(one Clopper–Pearson bound without a union: the largest count is at least that of the most likely class). Then
V = min(1 − L, U) bounds every class but A. Moving the input by r changes each z(p_c) by at most r / σ_k (Cohen, Rosenfeld,
Kolter 2019; Salman et al. 2019, Lemma 2). Hence, if the levels after k return class B within r of the input:

- L > τ: level k returns A within σ_k (z(L) − z(τ)) ("decides");
- B = A and V ≤ τ: within min(r, σ_k (z(τ) − z(V))) no class but A exceeds τ, so level k returns A or passes ("agrees");
- U ≤ τ: within min(r, σ_k (z(τ) − z(U))) level k passes, and the cascade returns B ("passes").

All three hold where the bounds do, so the largest radius counts. The bounds fail with probability α at most in all: L and
U of every level but the last and both bounds of the last one (`runner-up`) get equal shares. They may depend on one another,
so the levels may share their noise.

**As needed.** A level after the first may leave out the images that earlier levels settle. Its draws are defined for every image,
made or not, and so is the event that a bound of theirs fails. Outside these events, of probability α in all, each bound in use
is valid, or vacuous where nothing was drawn (L = 0, U = 1). So any choice of the images to sample keeps the level.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from scipy.special import ndtri

from rsctl.certificates.bounds import gap_radius, one_minus_lower, upper
from rsctl.certificates.protocol import (
    ABSTAIN,
    AS_NEEDED,
    Bools,
    Certified,
    CountTable,
    Floats,
    Guarantee,
    Ints,
    counts_of,
    other_counts,
    require_alpha,
    require_fixed_gaussian,
    selected_classes,
)
from rsctl.certificates.runner_up import bounds, split
from rsctl.errors import RefusedError

NAME = "cascade"
_ROUNDING = 1e-14
"""Margin, in units of σ, for the rounding of z(τ) and of a difference. Bounds have a margin of their own."""


@dataclass(frozen=True)
class Cascade:
    """A certificate of several count tables of the same images, one per level; ℓ2, Gaussian noise, fixed n.

    Levels, their order and the thresholds must be chosen without the images of the tables: choosing them on these images is
    tuning on the test set.
    """

    name = NAME
    title = "Several noise levels as one classifier"
    citation = "Lipschitz bound of Φ⁻¹(p): Cohen, Rosenfeld, Kolter 2019; Salman et al. 2019, Lemma 2"
    norm = "l2"
    about = (
        "Returns the class whose probability at the first σ exceeds τ; where there is none asks the second σ, and so on; the last "
        "level returns its most probable class. It is certified from the counts of its levels without further draws: those that a "
        "`[[cascade]]` table of the sweep file names, or `rsctl export SWEEP --cascade 0.25,0.5 --tau 0.9`, and likewise `plot`; "
        "`rsctl compare SWEEP` tests each against its levels, `rsctl compare RUN@0.9+RUN RUN` any two."
    )
    use_when = (
        "When no single σ is good at small and at large radii. Choose levels, order and τ on held-out images "
        '(`split = "val"`): `rsctl tune SWEEP --for 0.5` does. Levels need Gaussian noise and a fixed n, on the same images.'
    )

    guarantees = (
        "Probabilistic, of the cascade of its levels: with probability at least 1 − alpha over the noise draws of all levels together, "
        "for each image by itself, its class is the certified one at every image within the radius in ℓ2."
    )
    example: ClassVar = {
        "grid.sigma": [0.25, 0.5],
        "certification.split": "val",
        "cascade": [{"levels": [0.25, 0.5], "tau": 0.9}],
    }

    sigmas: tuple[float, ...]
    """Noise level of each level, in the order of the cascade."""
    taus: tuple[float, ...]
    """Threshold of each level but the last, in [½, 1)."""
    names: tuple[str, ...] = ()
    """Name of each level, where they differ in more than σ."""

    def __post_init__(self) -> None:
        if len(self.sigmas) < 2:
            raise RefusedError("a cascade needs two levels at least.")
        if len(self.taus) != len(self.sigmas) - 1:
            raise RefusedError(
                f"{len(self.taus)} thresholds for {len(self.sigmas)} levels: each level but the last has one."
            )
        for tau in self.taus:
            require_threshold(tau)

    @property
    def guarantee(self) -> Guarantee:
        told = self.taus if len(set(self.taus)) > 1 else self.taus[:1]
        taus = ", ".join(f"{tau:g}" for tau in told)
        return Guarantee(
            "probabilistic", f"the cascade of {levels_text(self.sigmas, self.names)} (τ = {taus})"
        )

    def certify(self, tables: Sequence[CountTable], alpha: float) -> Certified:
        """Radii of (N, C) counts of each level at failure probability `alpha` per image, in the units of the images.

        Abstains (predicted -1, radius 0) where the last level has no certificate and no level before it decides. Raises
        RefusedError for tables of other levels, of different images or classes, or that `cohen` would refuse.
        """
        alpha = self.spendable(tables, alpha)
        share = share_of(alpha, len(tables))
        *before, last = tables
        classes, radius, at_cap = last_level(last, share)
        for table, tau in zip(reversed(before), reversed(self.taus), strict=True):
            level = level_bounds(table, share)
            classes, radius, at_cap = in_front(level, float(ndtri(tau)), classes, radius, at_cap)
        return Certified(classes.astype(np.int64), radius, at_cap & (radius > 0))

    def spendable(self, tables: Sequence[CountTable], alpha: float) -> float:
        """The part of alpha left for the bounds; each table in exact arithmetic takes its own. Raises RefusedError as `certify`."""
        require_alpha(alpha)
        if tuple(table.sigma for table in tables) != self.sigmas:
            raise RefusedError(
                f"tables at σ = {', '.join(f'{table.sigma:g}' for table in tables)} are not the levels "
                f"{', '.join(f'{sigma:g}' for sigma in self.sigmas)} of the cascade."
            )
        first, *others = tables
        for table in others:
            if table.counts.shape != first.counts.shape or table.dimension != first.dimension:
                raise RefusedError(
                    f"the levels of a cascade need the same images and classes; their counts have the shapes {first.counts.shape} "
                    f"and {table.counts.shape}, their inputs {first.dimension} and {table.dimension} coordinates."
                )
            if table.label is not None and first.label is not None and (table.label != first.label).any():
                raise RefusedError("the levels of a cascade label the same images differently.")
            if table.arithmetic != first.arithmetic:
                raise RefusedError("one level was sampled in exact arithmetic and another wasn't.")
        left = alpha
        for table in tables:
            # Each call takes this table's departure from the Gaussian law out of what is left.
            left = require_fixed_gaussian("a cascade", _as_fixed(table), left)
        return left


def _as_fixed(table: CountTable) -> CountTable:
    """The table, of which images without draws have no bounds. Exact arithmetic would spend by the draws of other images."""
    if table.stopping != AS_NEEDED:
        return table
    if table.arithmetic == "exact":
        raise RefusedError("a level that is sampled as needed can't be in exact arithmetic.")
    return replace(table, stopping="fixed")


def bounds_of(cascade_levels: int) -> int:
    """The number of bounds among which a cascade of so many levels shares its alpha."""
    return 2 * cascade_levels - 1


def share_of(alpha: float, levels: int) -> float:
    """The share of alpha of each bound: two per level but the last, whose two bounds (`runner-up`) split one."""
    return alpha / bounds_of(levels)


@dataclass(frozen=True)
class LevelBounds:
    """Bounds of a level in front of others, each (N,): its class, and z(L), z(V) and z(U) of the module's docstring."""

    sigma: float
    chosen: Ints
    z_low: Floats
    z_others: Floats
    z_largest: Floats
    full: Bools
    """All draws gave the class."""


def level_bounds(table: CountTable, share: float) -> LevelBounds:
    """The bounds of a level that isn't the last, each at `share` of alpha."""
    chosen = selected_classes(table)
    successes = counts_of(chosen, table.counts)
    q = _one_minus_lower(table, successes, share)
    u = np.where(table.n > 0, upper(table.counts.max(axis=1), np.maximum(table.n, 1), share), 1.0)
    return LevelBounds(
        table.sigma, chosen, -ndtri(q), ndtri(np.minimum(q, u)), ndtri(u), successes == table.n
    )


def deciding_radius(table: CountTable, tau: float, share: float) -> Floats:
    """(N,): the radius within which the level returns its class by its own threshold; not positive where it doesn't decide."""
    return _decides(level_bounds(table, share), float(ndtri(tau)))


def _decides(level: LevelBounds, z_tau: float | Floats) -> Floats:
    return np.asarray(level.sigma * (level.z_low - z_tau) - _ROUNDING * level.sigma, np.float64)


def _one_minus_lower(table: CountTable, successes: Ints, share: float) -> Floats:
    """(N,): 1 − L; 1 where nothing was drawn."""
    return np.where(table.n > 0, one_minus_lower(successes, np.maximum(table.n, 1), share), 1.0)


def last_level(table: CountTable, share: float) -> tuple[Ints, Floats, Bools]:
    """Class, radius, and if it is at its cap, of the last level alone; class -1 and radius 0 without a certificate."""
    chosen = selected_classes(table)
    successes = counts_of(chosen, table.counts)
    runner_up = np.maximum(other_counts(chosen, table.counts).max(axis=1), 0)
    n = np.maximum(table.n, 1)
    q, p_b = bounds(successes, runner_up, n, share, split(table.selection_counts, n, share))
    radius = gap_radius(q, p_b, table.sigma)
    certified = radius > 0
    return (
        np.where(certified, chosen, ABSTAIN),
        np.where(certified, radius, 0.0),
        successes == table.n,
    )


def in_front(
    level: LevelBounds, z_tau: float | Floats, classes: Ints, radius: Floats, at_cap: Bools
) -> tuple[Ints, Floats, Bools]:
    """Class, radius and cap of a level followed by levels of which these are known; (N,), or (T, N) for thresholds (T, 1)."""
    margin = _ROUNDING * level.sigma
    decides = _decides(level, z_tau)
    reach = level.sigma * (z_tau - level.z_others) - margin
    agrees = np.where(classes == level.chosen, np.minimum(radius, reach), 0.0)
    passes = np.minimum(radius, level.sigma * (z_tau - level.z_largest) - margin)

    # Where a level decides, U > τ: it can't pass. Agreement is about the same class, so the larger radius counts.
    best = np.maximum(np.maximum(decides, agrees), np.maximum(passes, 0.0))
    by_this = (decides == best) & (best > 0)
    cap = np.where(by_this, level.full, np.where(best == radius, at_cap, level.full))
    found = np.where(by_this, level.chosen, classes)
    return np.where(best > 0, found, ABSTAIN), best, cap & (best > 0)


def require_threshold(tau: float) -> None:
    """Raise RefusedError unless a class's probability can be compared with this threshold."""
    if not 0.5 <= tau < 1:
        raise RefusedError(f"tau = {tau} is outside [0.5, 1): below 0.5 two classes could exceed it.")


def levels_text(sigmas: Sequence[float], names: Sequence[str] = ()) -> str:
    """`σ = 0.25 → 0.5`, or with names `a σ = 0.25 → b σ = 0.5`."""
    if not names:
        return f"σ = {' → '.join(f'{sigma:g}' for sigma in sigmas)}"
    return " → ".join(f"{name} σ = {sigma:g}" for name, sigma in zip(names, sigmas, strict=True))


def as_thresholds(tau: float | Sequence[float], levels: int) -> tuple[float, ...]:
    """Return the thresholds of a cascade of so many levels: one for all, or one for each but the last."""
    return (float(tau),) * (levels - 1) if isinstance(tau, (int, float)) else tuple(float(one) for one in tau)
