"""The counts that certificates are derived from. Pure numpy: no file, no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rsctl.errors import RefusedError

Ints = NDArray[np.integer[Any]]


@dataclass(frozen=True, eq=False)
class Looks:
    """The counts of a sequential table at each look, of which an image took the first few."""

    draws: Ints
    """(K,) integers, ascending: estimation draws at each look, fixed before the first draw."""
    counts: Ints
    """(N, K, C) integers: the counts so far at each look; zeros where sampling had stopped before."""


@dataclass(frozen=True, eq=False)
class Shells:
    """The estimation draws split by the norm of their noise."""

    edges: tuple[float, ...]
    """(S − 1,) norms in the units of the images, ascending; shell s holds norms above edge s − 1 up to edge s."""
    counts: Ints
    """(N, S, C) integers; they sum to the table's counts."""


AS_NEEDED = "as-needed"
"""The `stopping` of a later level of a cascade that samples an image only where no earlier level settles it."""
QUANTUM = 2.0**-24
"""Each coordinate of u = ε/σ is rounded to a multiple of this before it is summed: then a sum is exact, in whatever order."""


@dataclass(frozen=True, eq=False)
class GradientSums:
    """Sums of u = ε/σ over the estimation draws that left the selected class, apart for two halves of the draws.

    With S₁ and S₂ (d,) the sums over blocks of even and of odd number. The class is the argmax of the selection counts.
    """

    draws: tuple[int, int]
    """Draws of each half, fixed before the first; they sum to n."""
    misses: Ints
    """(N, 2) integers: how many draws of each half fell outside the class."""
    products: NDArray[np.float64]
    """(N, 3): ‖S₁‖², S₁·S₂, ‖S₂‖²."""

    @property
    def others(self) -> Ints:
        """`misses`, under the name that plugins of the first release read."""
        return self.misses


Halves = GradientSums
"""The name that plugins of the first release import."""


@dataclass(frozen=True, eq=False)
class CountTable:
    """Class counts of N images under noise, drawn to one stopping rule.

    Attributes
    ----------
    selection_counts
        (N, C) integers: the n0 draws that may choose the class (and a split of alpha) and nothing else.
    counts
        (N, C) integers: the estimation draws, fresh noise.
    n
        (N,) integers: estimation draws of each image; `counts` sums to it.
    sigma
        Standard deviation of the noise per coordinate, in the [0, 1] scale of the images.
    dimension
        Input coordinates d = channels · height · width.
    noise
        `gaussian`, or `generalised-gaussian`: density ∝ ‖ε‖^{−2·exponent} exp(−‖ε‖²/2s²) with that sigma per
        coordinate, s² = sigma² · d/(d − 2·exponent). Or independent coordinates that are `uniform` on
        ±√3·sigma or `laplace` with scale sigma/√2. `splitting`: no noise is added, n positions of cuts are gone through
        (`rsctl.certificates.splitting`).
    stopping
        `fixed`: n was chosen before the first draw. `as-needed`: so it was, but images that earlier levels of a cascade settle have
        no draws. Otherwise the name of the rule that stopped it.
    label
        (N,) integers: ground truth, for certificates about the true label; None where nobody needs it.
    looks
        The counts at every look, for a sequential table: a bound that holds under stopping needs them all.
    selection
        `noise`: the selection counts are n0 noisy draws. `clean`: one pass over the unperturbed image.
    exponent
        Of generalised Gaussian noise, 0 for Gaussian.
    shells
        The estimation counts split by noise norm, where the sampler kept them apart.
    gradient_sums
        Sums of the noise that left the selected class, where the sampler kept them.
    disagreements, compared
        (N, C) integers: of `compared` fresh draws per image that went through the network in fp32 too, those on
        which it chose another class, by the class that the counted function chose. None and 0 where none did.
    arithmetic
        `float`: f saw the float32 sum of the image and float32 noise. `exact`: whole pixel values, by the law of
        `rsctl.certificates.exact_noise`.
    extras
        Every measurement that the sampler kept, as stored: its arrays (N, …), by column. Those that a plugin declares are only here.

    Raises RefusedError where the arrays contradict each other.
    """

    selection_counts: Ints
    counts: Ints
    n: Ints
    sigma: float
    dimension: int
    noise: str = "gaussian"
    stopping: str = "fixed"
    label: Ints | None = None
    looks: Looks | None = None
    selection: str = "noise"
    exponent: int = 0
    shells: Shells | None = None
    disagreements: Ints | None = None
    compared: int = 0
    gradient_sums: GradientSums | None = None
    arithmetic: str = "float"
    extras: Mapping[str, Mapping[str, NDArray[Any]]] = field(default_factory=dict)

    @property
    def halves(self) -> GradientSums | None:
        """`gradient_sums`, under the name that plugins of the first release read."""
        return self.gradient_sums

    def __post_init__(self) -> None:
        integers = {"counts": self.counts, "selection_counts": self.selection_counts, "n": self.n}
        if self.label is not None:
            integers["label"] = self.label
        for name, array in integers.items():
            if not np.issubdtype(array.dtype, np.integer):
                raise RefusedError(
                    f"{name} holds {array.dtype} values, not whole numbers: the table is corrupt."
                )
        if self.counts.shape != self.selection_counts.shape or self.counts.ndim != 2:
            raise RefusedError(
                f"counts {self.counts.shape} and selection_counts {self.selection_counts.shape} must both be (N, C)."
            )
        rows = len(self.counts)
        for name in ("n", "label"):
            if name in integers and integers[name].shape != (rows,):
                raise RefusedError(f"{name} has shape {integers[name].shape}; {rows} images need ({rows},).")
        if (self.counts < 0).any() or (self.selection_counts < 0).any():
            raise RefusedError("a count is negative: the table is corrupt.")
        off = np.flatnonzero(self.counts.sum(axis=1) != self.n)
        if off.size:
            raise RefusedError(
                f"the counts of {off.size} images don't sum to n (first at row {off[0]}): the table is corrupt."
            )
        if not 0 < self.sigma < np.inf:
            raise RefusedError(f"sigma = {self.sigma}: the noise of a table has a positive, finite sigma.")
        if self.looks is not None:
            _check_looks(self.looks, self.counts, self.n)
        if self.shells is not None:
            _check_shells(self.shells, self.counts)
        if self.disagreements is not None:
            _check_disagreements(self.disagreements, self.compared, self.counts)
        if self.gradient_sums is not None:
            _check_sums(self.gradient_sums, self.selection_counts, self.counts, self.n)
        if self.arithmetic == "exact" and (
            self.noise != "gaussian" or self.shells is not None or self.gradient_sums is not None
        ):
            raise RefusedError(
                "exact arithmetic is for Gaussian noise, without shells and without sums of noise."
            )
        if self.exponent and self.noise != "generalised-gaussian":
            raise RefusedError(
                f"{self.noise} noise has no exponent {self.exponent}: only 'generalised-gaussian' noise has."
            )
        if self.selection == "clean" and (self.selection_counts.sum(axis=1) != 1).any():
            raise RefusedError("a clean pass chooses one class per image: the table is corrupt.")


def _check_disagreements(disagreements: Ints, compared: int, counts: Ints) -> None:
    """Raises RefusedError unless they can be those of so many draws."""
    if disagreements.shape != counts.shape or not np.issubdtype(disagreements.dtype, np.integer):
        raise RefusedError(f"disagreements {disagreements.shape} don't fit counts {counts.shape}.")
    if (disagreements < 0).any() or (disagreements.sum(axis=1) > compared).any():
        raise RefusedError(f"the disagreements are not those of {compared} draws: the table is corrupt.")


def _check_shells(shells: Shells, counts: Ints) -> None:
    """Raises RefusedError unless the shells are a partition of the norms and of the counts."""
    if shells.counts.shape != (len(counts), len(shells.edges) + 1, counts.shape[1]):
        raise RefusedError(
            f"counts by shell {shells.counts.shape} don't fit {len(shells.edges)} edges and counts {counts.shape}."
        )
    if not np.issubdtype(shells.counts.dtype, np.integer) or (shells.counts < 0).any():
        raise RefusedError("a count by shell is negative or not a whole number: the table is corrupt.")
    if (shells.counts.sum(axis=1) != counts).any():
        raise RefusedError("the counts by shell don't sum to the counts: the table is corrupt.")
    ends = np.array([0.0, *shells.edges, np.inf])
    if not (np.diff(ends) > 0).all():
        raise RefusedError(f"shell edges {shells.edges} must be positive, finite and ascending.")


def _check_sums(sums: GradientSums, selection_counts: Ints, counts: Ints, n: Ints) -> None:
    """Raises RefusedError unless the sums can be those of the draws outside the selected class."""
    misses, products = sums.misses, sums.products
    if misses.shape != (len(counts), 2) or products.shape != (len(counts), 3):
        raise RefusedError(
            f"sums of noise of shapes {misses.shape} and {products.shape} don't fit {len(counts)} images."
        )
    if min(sums.draws) < 0 or (n != sum(sums.draws)).any():
        raise RefusedError(f"halves of {sums.draws[0]} and {sums.draws[1]} draws don't sum to n.")
    chosen = np.take_along_axis(counts, selection_counts.argmax(axis=1)[:, None], axis=1)[:, 0]
    if (
        (misses < 0).any()
        or (misses > np.array(sums.draws)).any()
        or (misses.sum(axis=1) != n - chosen).any()
    ):
        raise RefusedError("the sums of noise are not those of the draws outside the selected class.")
    first, both, second = products.T
    empty = ((misses == 0) & (products[:, ::2] != 0)).any()
    # Cauchy–Schwarz; each product is rounded in its last digits.
    if empty or not ((products[:, ::2] >= 0).all() and (both**2 <= first * second * (1 + 1e-9)).all()):
        raise RefusedError("the products of the sums of noise contradict each other: the table is corrupt.")


def _check_looks(looks: Looks, counts: Ints, n: Ints) -> None:
    """Raises RefusedError unless each image's looks lead up to its counts."""
    draws = looks.draws
    if draws.ndim != 1 or looks.counts.shape != (len(counts), len(draws), counts.shape[1]):
        raise RefusedError(
            f"looks of shape {looks.counts.shape} at {draws.shape} draws don't fit counts {counts.shape}."
        )
    if not len(draws) or draws[0] < 1 or (np.diff(draws) <= 0).any():
        raise RefusedError("the draws at the looks must be positive and ascending: the table is corrupt.")
    reached = draws[None, :] <= n[:, None]
    if not np.isin(n, draws).all():
        raise RefusedError("an image stopped between two looks: the table is corrupt.")
    if (looks.counts.sum(axis=2) != np.where(reached, draws[None, :], 0)).any():
        raise RefusedError("the counts at a look don't sum to its draws: the table is corrupt.")
    # With what follows the last look, rows that sum alike can only be equal.
    before = np.where(reached[:, :, None], looks.counts, counts[:, None, :])
    if (np.diff(before, axis=1) < 0).any() or (looks.counts < 0).any():
        raise RefusedError("a count falls from one look to the next: the table is corrupt.")
    if (before[:, -1] != counts).any():
        raise RefusedError("the counts at the last look aren't the table's counts: the table is corrupt.")
