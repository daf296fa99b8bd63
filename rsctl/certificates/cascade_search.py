"""Search for the cascade with the best certified accuracy on held-out images: its levels, their order and τ.

All orders of up to `MOST_LEVELS` of the levels are tried, each with every τ of a grid (one for all levels), and each level
alone. What is found was chosen by these counts: its numbers on them are those of a choice, and its radii no certificates.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from scipy.special import ndtri

from rsctl.certificates.cascade import Cascade, LevelBounds, in_front, last_level, level_bounds, share_of
from rsctl.certificates.protocol import Bools, CountTable, Floats, Ints, require_fixed_gaussian

TAUS = tuple(round(0.5 + 0.01 * step, 2) for step in range(50))
"""The thresholds tried: 0.5, 0.51 … 0.99."""
MOST_LEVELS = 4
"""Orders of more levels are not tried: four of four noise levels are 64, seven of seven 13,699."""
TIE = 1e-9
"""Values this close are equal: a mean of radii depends on the order of its additions."""


@dataclass(frozen=True)
class CascadeObjective:
    """A weighted mean of certified accuracies, or the average certified radius."""

    weights: tuple[tuple[float, float], ...] = ()
    """Pairs (radius, weight); empty for the average certified radius."""

    def __str__(self) -> str:
        if not self.weights:
            return "average certified radius"
        if len(self.weights) == 1:
            return f"certified accuracy at {self.weights[0][0]:g}"
        parts = ", ".join(f"{radius:g} (weight {weight:g})" for radius, weight in self.weights)
        return f"mean certified accuracy at {parts}"

    def value(self, correct: Bools, radius: Floats) -> Floats:
        """(...,): the objective over the last axis of (..., N) predictions and radii."""
        if not self.weights:
            return np.asarray(np.where(correct, radius, 0.0).mean(axis=-1))
        parts = [weight * (correct & (radius >= r)).mean(axis=-1) for r, weight in self.weights]
        return np.asarray(sum(parts) / sum(weight for _, weight in self.weights))


@dataclass(frozen=True)
class CascadeChoice:
    """A cascade, or a level alone, and its value on the images it was chosen by."""

    levels: tuple[int, ...]
    """Positions of the levels among those searched, in the order of the cascade."""
    tau: float | None
    """None for a level alone."""
    value: float


def search_cascade(
    seeds: Sequence[Sequence[CountTable]],
    labels: Sequence[Ints],
    alpha: float,
    objective: CascadeObjective,
    taus: Sequence[float] = TAUS,
) -> list[CascadeChoice]:
    """The best cascade first, then each level alone, the best first.

    `seeds` holds per training seed the (N, C) counts of every level on the same images, `labels` their (N,) labels; values are
    means over the seeds. Of equal values the one with fewer levels comes first, then that with earlier levels, then the smaller τ.
    Raises RefusedError for tables that can't be levels of one cascade.
    """
    tables = [_Levels(levels, alpha) for levels in seeds]
    best: CascadeChoice | None = None
    alone = []
    for order in _orders(len(seeds[0])):
        values = [
            objective.value(classes == label, radius)
            for one, label in zip(tables, labels, strict=True)
            for classes, radius in [one.certify(order, taus)]
        ]
        found = np.mean(values, axis=0)
        first = int(np.argmax(found >= found.max() - TIE))
        choice = CascadeChoice(order, taus[first] if len(order) > 1 else None, float(found[first]))
        if choice.tau is None:
            alone.append(choice)
        elif best is None or choice.value > best.value + TIE:
            best = choice
    assert best is not None
    return [best, *sorted(alone, key=lambda one: -one.value)]


def _orders(levels: int) -> Iterator[tuple[int, ...]]:
    """All orders of some of the levels, those with fewer first."""
    for size in range(1, min(levels, MOST_LEVELS) + 1):
        yield from permutations(range(levels), size)


class _Levels:
    """The tables of one training seed, whose bounds are computed once per share of alpha."""

    def __init__(self, tables: Sequence[CountTable], alpha: float) -> None:
        self._tables, self._alpha = tables, alpha
        self._spendable(tables)  # refuses what can't be levels of one cascade
        self._bounds: dict[tuple[int, float], LevelBounds] = {}
        self._last: dict[tuple[int, float], tuple[Ints, Floats, Bools]] = {}

    def certify(self, order: tuple[int, ...], taus: Sequence[float]) -> tuple[Ints, Floats]:
        """(T, N) classes and radii of the cascade in this order, at each τ; (1, N) of a level alone."""
        tables = [self._tables[i] for i in order]
        share = share_of(self._spendable(tables), len(order))
        *before, last = order
        if (last, share) not in self._last:
            self._last[last, share] = last_level(tables[-1], share)
        classes, radius, at_cap = self._last[last, share]
        z_tau = ndtri(np.asarray(taus))[:, None]
        for i in reversed(before):
            if (i, share) not in self._bounds:
                self._bounds[i, share] = level_bounds(self._tables[i], share)
            classes, radius, at_cap = in_front(self._bounds[i, share], z_tau, classes, radius, at_cap)
        return np.atleast_2d(classes), np.atleast_2d(radius)

    def _spendable(self, tables: Sequence[CountTable]) -> float:
        if len(tables) == 1:
            return require_fixed_gaussian("a cascade", tables[0], self._alpha)
        sigmas = tuple(table.sigma for table in tables)
        return Cascade(sigmas, (0.5,) * (len(sigmas) - 1)).spendable(tables, self._alpha)
