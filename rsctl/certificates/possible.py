"""The best that a table can say: the radius where all draws agree, and how many draws it takes for one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from decimal import ROUND_FLOOR, Context
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammainc

from rsctl.catalog import find, known_extras
from rsctl.certificates import CountTable, GradientSums, Looks, Shells, find_certificate
from rsctl.certificates.cohen import predict
from rsctl.certificates.dsrs import NeymanPearson
from rsctl.certificates.norms import InNorm
from rsctl.certificates.protocol import spendable
from rsctl.certificates.stopping import make_rule
from rsctl.config.runs import CONFIRMATIONS, AttackSpec, CountSpec, halves_of
from rsctl.errors import RefusedError

MOST = 2**31 - 1
"""Draws per image: counts are stored in 32 bits."""


@dataclass(frozen=True, kw_only=True)
class Draws:
    """The settings that images are sampled with, but for the number of draws; the fields are those of a `CountSpec`."""

    sigma: float
    noise: str
    exponent: int
    selection: str
    n0: int
    stopping: str = "fixed"
    stop_radii: tuple[float, ...] = ()
    stop_delta: float = 0.0
    shell_edges: tuple[float, ...] = ()
    gradient: bool = False
    transfer: int = 0
    extras: tuple[str, ...] = ()
    """Names of the measurements of plugins."""
    block: int
    arithmetic: str
    classes: int
    dimension: int

    @classmethod
    def of(cls, spec: CountSpec, classes: int, dimension: int) -> Draws:
        named = [one.name for one in fields(cls) if one.name not in ("classes", "dimension")]
        said = {name: getattr(spec, name) for name in named}
        lists = {name: tuple(value) for name, value in said.items() if isinstance(value, (list, dict))}
        return cls(**{**said, **lists}, classes=classes, dimension=dimension)


def best_table(draws: Draws, n: int, alpha: float) -> CountTable:
    """One image of class 0, on which all draws agree; their norms are spread as they are on average, and extras are zeros."""
    counts = np.zeros((1, draws.classes), np.int64)
    selection = counts.copy()
    selection[0, 0], counts[0, 0] = draws.n0, n
    rule = make_rule(
        draws.stopping, radii=draws.stop_radii, delta=draws.stop_delta, sigma=draws.sigma, alpha=alpha, n=n, block=draws.block
    )  # fmt: skip
    looks = shells = None
    if rule is not None:
        at_looks = np.zeros((1, len(rule.draws), draws.classes), np.int64)
        at_looks[0, :, 0] = rule.draws
        looks = Looks(rule.draws, at_looks)
    if draws.shell_edges:
        by_shell = np.zeros((1, len(draws.shell_edges) + 1, draws.classes), np.int64)
        by_shell[0, :, 0] = np.diff(np.rint(n * _below(draws)).astype(np.int64), prepend=0, append=n)
        shells = Shells(draws.shell_edges, by_shell)
    sums = GradientSums(halves_of(n, draws.block), np.zeros((1, 2), np.int64), np.zeros((1, 3)))
    return CountTable(
        selection,
        counts,
        np.array([n]),
        draws.sigma,
        draws.dimension,
        draws.noise,
        draws.stopping,
        label=np.zeros(1, np.int32),
        looks=looks,
        selection=draws.selection,
        exponent=draws.exponent,
        shells=shells,
        disagreements=np.zeros_like(counts) if draws.transfer else None,
        compared=draws.transfer,
        gradient_sums=sums if draws.gradient else None,
        arithmetic=draws.arithmetic,
        extras={name: _zeros(name, draws) for name in draws.extras},
    )


def _zeros(extra: str, draws: Draws) -> dict[str, NDArray[Any]]:
    """The columns of one image."""
    return {
        name: np.zeros((1, *column.sides(draws.classes, draws.dimension)), column.kind)
        for name, column in find("measurement", extra, known_extras()).columns.items()
    }


def _below(draws: Draws) -> NDArray[np.float64]:
    """Shares of all noise below each edge: ‖ε‖²/2s² ~ Gamma(d/2 − k), s² = σ² d/(d − 2k)."""
    d, k = draws.dimension, draws.exponent
    edges = np.array(draws.shell_edges)
    return np.asarray(gammainc(d / 2 - k, edges**2 / 2 / draws.sigma**2 * (d - 2 * k) / d))


def ask(certificate: str, table: CountTable, alpha: float) -> float:
    """The radius of its one image; raises RefusedError where the certificate isn't sound for such a table.

    Of Neyman–Pearson certificates, whose radii take tables that are long in the making, inf where there is one.
    """
    rule = find_certificate(certificate)
    inner = rule.inner if isinstance(rule, InNorm) else rule
    if isinstance(inner, NeymanPearson):
        return np.inf if inner.excess(table, alpha)[0] > 0 else 0.0
    return float(rule.certify(table, alpha).radius[0])


@lru_cache(maxsize=4096)
def reach(certificate: str, draws: Draws, n: int, alpha: float) -> float:
    """The radius that n draws allow where all of them agree; 0 where they certify nothing.

    Of certificates that need the measurement of a plugin inf: nobody here knows what it measures where all draws agree.
    """
    try:
        table = best_table(draws, n, alpha)
        best = ask(certificate, table, alpha)
    except RefusedError:
        return 0.0
    if table.extras:
        try:
            ask(certificate, replace(table, extras={}), alpha)
        except RefusedError:
            return math.inf
    return best


@lru_cache(maxsize=4096)
def decides(draws: Draws, n: int, alpha: float) -> bool:
    """PREDICT returns a class where all n draws agree."""
    try:
        table = best_table(draws, n, alpha)
        return bool(predict(table.counts, spendable(table, alpha))[0] == 0)
    except RefusedError:
        return False


def fewest(enough: Callable[[int], bool], n: int) -> int | None:
    """A number of draws above n that is enough, the smallest if more are never too many; None where none is."""
    low = high = n
    while not enough(high):
        if high == MOST:
            return None
        low, high = high, min(2 * high, MOST)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


@dataclass(frozen=True)
class Asked:
    """One certificate of one table."""

    certificate: str
    draws: Draws
    n: int
    alpha: float
    radii: tuple[float, ...]
    """Columns of what is printed."""


def too_few(tables: Iterable[Asked]) -> list[str]:
    """Sentences on those whose n is too small for their alpha, whatever the counts; each says which n could."""
    nothing: dict[tuple[str, int, float], list[int | None]] = {}
    short: dict[tuple[str, int, float, float], list[tuple[float, int]]] = {}
    for one in dict.fromkeys(tables):
        best = reach(one.certificate, one.draws, one.n, one.alpha)
        first = min((radius for radius in one.radii if radius > 0), default=0.0)
        if best == 0:
            nothing.setdefault((one.certificate, one.n, one.alpha), []).append(_needed(one, 0.0))
        elif best < first and (needed := _needed(one, first)):
            short.setdefault((one.certificate, one.n, one.alpha, first), []).append((best, needed))
        if (
            one.draws.stopping == "fixed"
            and one.draws.classes > 1
            and not decides(one.draws, one.n, one.alpha)
        ):
            nothing.setdefault(("", one.n, one.alpha), []).append(_to_predict(one.draws, one.n, one.alpha))
    return [_nothing(*about, needed) for about, needed in nothing.items()] + [
        f"n = {n} is too small for alpha = {alpha:g}: where all draws agree {name} certifies a radius of "
        f"{_rounded_down(max(best for best, _ in found))}, and nothing at {first:g}, the first column beyond 0; "
        f"n = {max(needed for _, needed in found):,} could."
        for (name, n, alpha, first), found in short.items()
    ]


def _needed(one: Asked, radius: float) -> int | None:
    def enough(n: int) -> bool:
        best = reach(one.certificate, one.draws, n, one.alpha)
        return best > 0 and best >= radius

    return fewest(enough, one.n)


def too_few_to_predict(draws: Draws, n: int, alpha: float) -> str:
    """The same of PREDICT, in a sentence; empty where n draws will do."""
    return "" if decides(draws, n, alpha) else _nothing("", n, alpha, [_to_predict(draws, n, alpha)])


def too_few_to_confirm(attacks: Iterable[AttackSpec]) -> list[str]:
    """The same of attacks on a smoothed classifier, whose finds fresh draws have to confirm."""
    found = {}
    for spec in attacks:
        # A one-sided test of each rival against the label, and the draws go to them all.
        needed = (
            spec.parameters.get("topk", 1) * math.ceil(math.log2(CONFIRMATIONS / spec.alpha))
            if spec.alpha
            else 0
        )
        if spec.n < needed:
            found[spec.n, spec.alpha] = (
                f"n = {spec.n} is too small for alpha = {spec.alpha:g}: even where all draws agree nothing that {spec.attack} finds is "
                f"confirmed; n = {needed} could."
            )
    return list(found.values())


def _to_predict(draws: Draws, n: int, alpha: float) -> int | None:
    return fewest(lambda more: decides(draws, more, alpha), n)


def _nothing(name: str, n: int, alpha: float, needed: list[int | None]) -> str:
    says = f"{name} certifies no image" if name else "PREDICT returns no class"
    most = None if None in needed else max(number for number in needed if number)
    could = f"n = {most:,} could" if most else "no n could, as these are sampled: take a larger alpha"
    if name.startswith("transfer") and not most:
        could += ", or a larger certification.transfer"
    return f"n = {n} is too small for alpha = {alpha:g}: even where all draws agree {says}; {could}."


def _rounded_down(radius: float) -> str:
    return f"{Context(prec=2, rounding=ROUND_FLOOR).create_decimal_from_float(radius):f}"
