"""What a certificate takes and gives. Pure numpy: no file, no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rsctl.errors import RefusedError

Ints = NDArray[np.integer[Any]]
Floats = NDArray[np.float64]

ABSTAIN = -1


@dataclass(frozen=True)
class CountTable:
    """Class counts of N images under noise, drawn to one stopping rule.

    Attributes
    ----------
    selection_counts
        (N, C) integers: the n0 draws that may choose the class and nothing else.
    counts
        (N, C) integers: the estimation draws, fresh noise.
    n
        (N,) integers: estimation draws of each image; `counts` sums to it.
    sigma
        Standard deviation of the noise per coordinate, in the [0, 1] scale of the images.
    dimension
        Input coordinates d = channels · height · width.
    noise
        `gaussian`.
    stopping
        `fixed`: n was chosen before the first draw.
    """

    selection_counts: Ints
    counts: Ints
    n: Ints
    sigma: float
    dimension: int
    noise: str = "gaussian"
    stopping: str = "fixed"

    def __post_init__(self) -> None:
        if self.counts.shape != self.selection_counts.shape or self.counts.ndim != 2:
            raise RefusedError(f"counts {self.counts.shape} and selection_counts {self.selection_counts.shape} must both be (N, C).")
        if (self.counts < 0).any() or (self.selection_counts < 0).any():
            raise RefusedError("a count is negative: the table is corrupt.")
        off = np.flatnonzero(self.counts.sum(axis=1) != self.n)
        if off.size:
            raise RefusedError(f"the counts of {off.size} images don't sum to n (first at row {off[0]}): the table is corrupt.")


@dataclass(frozen=True)
class Certified:
    """What a certificate says of N images.

    Attributes
    ----------
    predicted
        (N,) int64, the certified class, or -1 where it abstains.
    radius
        (N,) float64 in the units of the images, ℓ2 unless `norm` of the certificate says otherwise;
        0 where it abstains. Never rounded up.
    at_cap
        (N,) bool: the radius is the largest that n and alpha allow.
    """

    predicted: NDArray[np.int64]
    radius: Floats
    at_cap: NDArray[np.bool_]


@dataclass(frozen=True)
class Guarantee:
    """The label every table, plot and screen shows."""

    kind: str
    """`deterministic`, `probabilistic` or `heuristic`."""
    classifier: str
    """Of which function it speaks."""
    level: str = "1-alpha"
    """What is proved, for the probabilistic kind."""

    def label(self, alpha: float) -> str:
        if self.kind == "probabilistic":
            level = f"{1 - alpha:.10g}" if self.level == "1-alpha" else self.level
            return f"probabilistic {level} per image, of {self.classifier}"
        if self.kind == "heuristic":
            return f"heuristic, no guarantee, of {self.classifier}"
        return f"deterministic, of {self.classifier}"


class Certificate(Protocol):
    """A rule from counts to radii. One file each in this room."""

    name: str
    title: str
    citation: str
    guarantee: Guarantee
    norm: str
    """`l1`, `l2` or `linf`."""
    k: int
    """The true label stays among the k largest; 1 for the prediction itself."""

    def certify(self, table: CountTable, alpha: float) -> Certified:
        """Radii at failure probability `alpha` per image; refuses a table it isn't sound for."""
        ...


@dataclass(frozen=True)
class Refusals:
    """The preconditions that fixed-n certificates share."""

    noise: tuple[str, ...] = ("gaussian",)
    stopping: tuple[str, ...] = ("fixed",)
    reason: str = field(default="its counts were looked at while they were drawn, and plain bounds at alpha then fail more often than alpha")

    def check(self, certificate: str, table: CountTable, alpha: float) -> None:
        if not 0 < alpha < 1:
            raise RefusedError(f"alpha = {alpha} is outside (0, 1).")
        if table.noise not in self.noise:
            raise RefusedError(f"{certificate} is proved for {' or '.join(self.noise)} noise; this table has '{table.noise}'.")
        if table.stopping not in self.stopping:
            raise RefusedError(f"{certificate} needs a table of a fixed n; this one is '{table.stopping}': {self.reason}.")
