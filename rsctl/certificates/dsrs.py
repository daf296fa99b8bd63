"""Neyman–Pearson radii for generalised Gaussian noise, by shells of noise norm (DSRS) or without."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rsctl.certificates.bounds import lower
from rsctl.certificates.dsrs_cache import tangents_at
from rsctl.certificates.dsrs_table import (
    LARGEST_SHIFT,
    SMALLEST_DIMENSION,
    STEP,
    Shell,
    curvature,
    shell_mass,
    shells_between,
)
from rsctl.certificates.protocol import (
    Certified,
    CountTable,
    Floats,
    Guarantee,
    Ints,
    abstain_unless,
    counts_of,
    instead,
    require_fixed,
    selected_classes,
    spendable,
)
from rsctl.errors import RefusedError


class NeymanPearson:
    """The largest R at which the selected class keeps at least ½ under every shift up to R, given its bounds in shells.

    DSRS (Li et al. 2022) bounds the class's probability under the noise P and under its restriction Q to
    ‖ε‖ ≤ T. As Q is a part of P, the two constraints are one per shell, and the worst case decouples into one
    Neyman–Pearson problem in each shell. One sampling run is enough: draws are counted by shell.

    In shell s the class has a_s = P(shell) · p̲_s, with P(shell) known and p̲_s the Clopper–Pearson bound of its
    count among the draws that fell there, at α/S each (S shells). The least probability under a shift grows
    with each a_s, so lower bounds suffice. With one shell and exponent 0 this is CERTIFY.
    """

    norm = "l2"
    k = 1
    guarantee = Guarantee("probabilistic", "the smoothed classifier g")

    def __init__(
        self,
        name: str,
        title: str,
        citation: str,
        by_shell: bool,
        *,
        about: str,
        use_when: str,
        example: Mapping[str, Any],
    ) -> None:
        self.about, self.use_when, self.example = about, use_when, example
        self.name = name
        self.title = title
        self.citation = citation
        self._by_shell = by_shell

    def certify(self, table: CountTable, alpha: float) -> Certified:
        """Radii at failure probability `alpha` per image; abstains where the class's bounds sum to ½ or less."""
        least, shells = self._bounds(table, alpha)
        radius = table.sigma * certified_shift(least, table.dimension, table.exponent, shells)
        chosen = selected_classes(table)
        return abstain_unless(radius > 0, chosen, radius, counts_of(chosen, table.counts) == table.n)

    def excess(self, table: CountTable, alpha: float) -> Floats:
        """(N,): by how much the bounds sum to more than ½; where they don't, `certify` abstains, and no table is needed to see it."""
        return np.asarray(self._bounds(table, alpha)[0].sum(axis=1) - 0.5)

    def _bounds(self, table: CountTable, alpha: float) -> tuple[Floats, list[Shell]]:
        """(N, S): the lower bounds in the shells; raises RefusedError for a table that it isn't sound for."""
        alpha = spendable(table, alpha)
        if table.noise not in ("gaussian", "generalised-gaussian"):
            raise RefusedError(
                f"{self.name} is for gaussian and generalised-gaussian noise; this table has '{table.noise}'."
                f"{instead(table.noise)}"
            )
        require_fixed(self.name, table)
        if self._by_shell and table.shells is None:
            raise RefusedError(
                f"{self.name} needs counts split by noise norm; this table has none. Sample with certification.shells, or use 'neyman-pearson' or 'cohen'."
            )
        d, exponent = table.dimension, table.exponent
        if d < SMALLEST_DIMENSION or not 0 <= exponent <= d / 2 - 4:
            raise RefusedError(
                f"{self.name} needs inputs of at least {SMALLEST_DIMENSION} coordinates and an exponent from 0 to "
                f"d/2 - 4; this table has d = {d} and exponent {exponent}."
            )
        if self._by_shell and table.shells is not None:
            counts, edges = (
                table.shells.counts,
                tuple(float(edge) / table.sigma for edge in table.shells.edges),
            )
        else:
            counts, edges = table.counts[:, None, :], ()
        shells = shells_between(edges)
        return shell_probabilities(counts, selected_classes(table), d, exponent, shells, alpha), shells


def shell_probabilities(
    counts: Ints, chosen: Ints, d: int, exponent: int, shells: list[Shell], alpha: float
) -> Floats:
    """(N, S): lower bounds a_s on P(class chosen, noise in shell s), together at level alpha.

    `counts` is (N, S, C). How many draws fell into a shell says nothing of the class, so each bound is one
    on the class's share among them.
    """
    columns = []
    for number, shell in enumerate(shells):
        inside = counts[:, number, :]
        p = lower(counts_of(chosen, inside), inside.sum(axis=1), alpha / len(shells))
        # The mass itself is good to about 1e-14.
        columns.append(p * shell_mass(d, exponent, shell) * (1 - 1e-12))
    return np.stack(columns, axis=1)


def certified_shift(least: Floats, d: int, exponent: int, shells: list[Shell]) -> Floats:
    """(N,): for a class with at least `least` (N, S) in the shells, the shift in σ up to which it keeps ½; 0 if not at 0.

    Walks over the tabulated shifts. The least probability h isn't always falling in the shift (outer shells
    gain mass from afar), so nothing is skipped: for a fixed set the probability bends by at most `curvature`, so
    h minus a parabola is concave, and between two shifts h lies above their chord less K θ(1 − θ). Nothing is
    claimed beyond the largest shift of the table.
    """
    bend = curvature(d, exponent) * STEP**2 / 2
    excess = least.sum(axis=1) - 0.5
    radius = np.zeros(len(least))
    walking = np.flatnonzero(excess > 0)
    for node in range(round(LARGEST_SHIFT / STEP)):
        if not walking.size:
            break
        lines = [tangents_at(d, exponent, shell, node + 1) for shell in shells]
        h = np.sum([line.lowest(least[walking, number]) for number, line in enumerate(lines)], axis=0)
        share = _covered(excess[walking], h - 0.5, bend)
        radius[walking] = (node + share) * STEP
        excess[walking] = h - 0.5
        walking = walking[share == 1]
    return radius * (1 - 1e-12)


def _covered(before: Floats, after: Floats, bend: float) -> Floats:
    """The largest θ ≤ 1 up to which (1 − θ) before + θ after − bend θ(1 − θ) stays at or above 0; `before` ≥ 0."""
    slope = after - before - bend
    inside = slope**2 - 4 * bend * before
    # The smaller root, written so that nothing cancels; without a root, or with one beyond 1, all is covered.
    root = 2 * before / np.maximum(-slope + np.sqrt(np.maximum(inside, 0)), 1e-200)
    # Below 0 at the end it crosses, whatever the rounding of the root says.
    crosses = (after < 0) | ((inside >= 0) & (slope < 0) & (root < 1))
    return np.where(crosses, np.minimum(root, 1 - 1e-15), 1.0)


CERTIFICATES = (
    NeymanPearson(
        "dsrs",
        "DSRS",
        "Li, Zhang, Xie, Li: Double Sampling Randomized Smoothing, ICML 2022; one run, counts by shell",
        by_shell=True,
        about="Counts draws apart by the norm of their noise and bounds the class's probability in each shell; the worst classifier "
        "that fits all these bounds gives the radius. Knowing more of f than one probability never makes that radius smaller but for "
        "the confidence that the shells share.",
        use_when="With generalised Gaussian noise (`exponent`) and `shells`, on large images; with plain Gaussian noise there is little to gain.",
        example={"certification.shells": [0.5], "exponent": 10},
    ),
    NeymanPearson(
        "neyman-pearson",
        "Neyman–Pearson",
        "Yang et al. 2020 for isotropic noise; Cohen, Rosenfeld, Kolter 2019 for the Gaussian",
        by_shell=False,
        about="The largest radius at which no classifier with the bounded probability of the class falls below ½, by the Neyman–Pearson "
        "lemma for noise that depends on its norm alone. With Gaussian noise it is CERTIFY, up to the steps of its tables.",
        use_when="For generalised Gaussian noise (`exponent`) without shells, as the baseline of `dsrs`.",
        example={"exponent": 10},
    ),
)
