"""The input and the output of a certificate. Pure numpy: no file, no torch."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rsctl.certificates.exact_noise import level_left
from rsctl.certificates.table import AS_NEEDED as AS_NEEDED
from rsctl.certificates.table import CountTable as CountTable
from rsctl.certificates.table import GradientSums as GradientSums
from rsctl.certificates.table import Halves as Halves
from rsctl.certificates.table import Ints as Ints
from rsctl.certificates.table import Looks as Looks
from rsctl.certificates.table import Shells as Shells
from rsctl.errors import RefusedError

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

ABSTAIN = -1


@dataclass(frozen=True, eq=False)
class Certified:
    """The result of a certificate for N images.

    Attributes
    ----------
    predicted
        (N,) int64, the certified class, or -1 where it abstains.
    radius
        (N,) float64 in the units of the images, in the `norm` of the certificate; 0 where it abstains.
        Never rounded up.
    at_cap
        (N,) bool: the radius is the largest that n and alpha allow.
    """

    predicted: NDArray[np.int64]
    radius: Floats
    at_cap: Bools


@dataclass(frozen=True)
class Guarantee:
    """The label every table, plot and screen shows."""

    kind: str
    """`deterministic`, `probabilistic` or `heuristic`."""
    classifier: str
    """The function that it is about."""
    times_alpha: float = 1.0
    """For the probabilistic kind: what is proved is a failure probability of at most `times_alpha` · alpha."""
    remark: str = ""
    """A restriction that a reader has to know beside the level."""

    def label(self, alpha: float, arithmetic: str = "float") -> str:
        """`arithmetic` is the table's."""
        remark = f" ({self.remark})" if self.remark else ""
        if arithmetic == "exact":
            remark = f", in exact arithmetic on whole pixel values{remark}"
        if self.kind == "probabilistic":
            # In decimal: 1 - 1e-12 must not be shown as 1.
            level = max(1 - Decimal(repr(self.times_alpha)) * Decimal(repr(float(alpha))), Decimal(0))
            return f"probabilistic {level.normalize():f} per image, of {self.classifier}{remark}"
        if self.kind == "heuristic":
            return f"heuristic, no guarantee, of {self.classifier}{remark}"
        return f"deterministic, of {self.classifier}{remark}"


class Certificate(Protocol):
    """A rule from counts to radii. One file each in this room.

    It may also have the texts of `rsctl explain`: `about`, `use_when`, `example` and `special` (see `rsctl.catalog.declare.Explained`).
    """

    @property
    def name(self) -> str: ...

    @property
    def title(self) -> str: ...

    @property
    def citation(self) -> str: ...

    @property
    def guarantee(self) -> Guarantee: ...

    @property
    def norm(self) -> str:
        """`l1`, `l2` or `linf`."""
        ...

    @property
    def k(self) -> int:
        """The true label stays among the k largest; 1 for the prediction itself."""
        ...

    def certify(self, table: CountTable, alpha: float) -> Certified:
        """Radii at failure probability `alpha` per image; refuses a table it isn't sound for."""
        ...


def require_alpha(alpha: float) -> None:
    """Raises RefusedError unless 0 < alpha < 1."""
    if not 0 < alpha < 1:
        raise RefusedError(f"alpha = {alpha} is outside (0, 1).")


def spendable(table: CountTable, alpha: float) -> float:
    """The part of alpha that the bounds of a certificate may spend; raises RefusedError where nothing is left.

    All of it, but for what the draws of an exact table depart from the law that certificates are proved for. Every table
    goes through here: a certificate that forgot would be wrong by that much.
    """
    require_alpha(alpha)
    if table.arithmetic != "exact":
        return alpha
    estimation = table.n.max(initial=0) if table.looks is None else table.looks.draws.max(initial=0)
    draws = int(table.selection_counts.sum(axis=1).max(initial=0) + estimation) + table.compared
    return level_left(alpha, table.sigma, table.dimension, draws)


def require_fixed_gaussian(certificate: str, table: CountTable, alpha: float) -> float:
    """The preconditions that fixed-n certificates for Gaussian noise share; what they may spend of alpha. Raises RefusedError."""
    if table.noise != "gaussian":
        raise RefusedError(
            f"{certificate} is proved for gaussian noise; this table has '{table.noise}'.{instead(table.noise)}"
        )
    require_fixed(certificate, table)
    return spendable(table, alpha)


def require_fixed(certificate: str, table: CountTable) -> None:
    """Raises RefusedError for a table whose sampling stopped by its counts, or began by those of others."""
    if table.stopping == AS_NEEDED:
        raise RefusedError(
            f"{certificate} needs a table whose images were all sampled; this one is a later level of a cascade with order = 'as-needed', "
            "without draws where an earlier level settles an image. Only its cascade is certified from it."
        )
    if table.stopping != "fixed":
        raise RefusedError(
            f"{certificate} needs a table of a fixed n; this one is '{table.stopping}': its counts were looked at "
            "while they were drawn, and plain bounds at alpha then fail more often than alpha. Use 'sequential'."
        )


def instead(noise: str) -> str:
    """A sentence that names the certificates for a noise, after one that doesn't take it."""
    names = {
        "gaussian": "'runner-up'",
        "generalised-gaussian": "'dsrs' or 'neyman-pearson'",
        "uniform": "'uniform-l1' or 'uniform-linf'",
        "laplace": "'laplace-l1'",
        "splitting": "'splitting-l1'",
    }
    return f" Use {names[noise]}." if noise in names else ""


def selected_classes(table: CountTable) -> NDArray[np.int64]:
    """(N,) int64: the class that the selection draws saw most; the lowest index wins a tie."""
    chosen: NDArray[np.int64] = table.selection_counts.argmax(axis=1).astype(np.int64)
    return chosen


def counts_of(classes: Ints, counts: Ints) -> NDArray[np.int64]:
    """(N,) int64: the count of one class per row of (N, C) counts; raises TypeError for what isn't whole numbers."""
    if not np.issubdtype(counts.dtype, np.integer):
        raise TypeError(
            f"counts_of takes whole numbers, not {counts.dtype}, of which it would drop the fractions: "
            "np.take_along_axis picks from them."
        )
    picked: NDArray[np.int64] = np.take_along_axis(counts, classes[:, None], axis=1)[:, 0].astype(np.int64)
    return picked


def other_counts(classes: Ints, counts: Ints) -> NDArray[np.int64]:
    """(N, C) int64: the counts with -1 in the place of one class per row, so that it is never the largest."""
    others = counts.astype(np.int64)
    np.put_along_axis(others, classes[:, None], -1, axis=1)
    return others


def abstain_unless(certified: Bools, classes: Ints, radius: Floats, at_cap: Bools) -> Certified:
    """Predicted -1 and radius 0 outside `certified`."""
    return Certified(
        np.where(certified, classes, ABSTAIN).astype(np.int64),
        np.where(certified, radius, 0.0),
        certified & at_cap,
    )
