"""Noise levels of a log, from its path and checked against its radii. None is guessed against the evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rsctl.report.radius_logs.paths import Level

MOST_SIGMAS = 5.3
"""A hundred million draws at alpha = 0.001 show 5.27 sigma."""
USUAL_SIGMAS = 4.4
"""A million draws show 4.35 sigma: a radius above this share of a smaller reading rules that out."""


class Unclear(Exception):
    """σ is missing or doubtful; the message gives the reason and the remedy."""


@dataclass(frozen=True)
class Noise:
    """Levels of the certificate and of the training."""

    sigma: float
    trained: float | None
    remarks: list[str]


def settle(levels: Sequence[Level], largest: float, asked: float | None) -> Noise:
    """The levels of a log; `largest` is its largest ℓ2 radius, 0 where there is none, `asked` the importer's values.

    Raises Unclear where no reading of the path is supported by how it is written, by another name or by the radii.
    """
    by_kind = {kind: [one for one in levels if one.kind == kind] for kind in ("sigma", "noise", "")}
    certified = by_kind["sigma"] or by_kind["noise"] or by_kind[""]
    sigma = _supported(certified, levels, largest) if asked is None else asked
    before = by_kind["noise"] if by_kind["sigma"] else by_kind["noise"][: None if asked else -1]
    trained, remarks = _trained(before, sigma)
    if asked is not None:
        told = [one.value for one in by_kind["sigma"] if one.plain and not one.odd]
        if told and told[-1] != sigma:
            remarks.append(f"its path states sigma = {told[-1]:g}, the import {sigma:g}")
    return Noise(sigma, trained, remarks)


def _supported(certified: Sequence[Level], levels: Sequence[Level], largest: float) -> float:
    """σ as the path states it; raises Unclear unless it is beyond doubt."""
    if not certified:
        raise Unclear("its path has no σ (as in sigma_0.25). Give it with --sigma")
    if not certified[-1].kind:
        found = {one.value for one in certified if _fits(one.value, largest)}
        if len(found) == 1:
            return found.pop()
        names = ", ".join(f"'{one.called}'" for one in certified[:4])
        raise Unclear(
            f"σ isn't clear: of {names} in its path {'none fits' if not found else 'several fit'} its radii. Give it with --sigma"
        )
    one = certified[-1]
    if one.odd:
        raise Unclear(f"σ isn't clear: {one.odd}. Give it with --sigma")
    if one.value <= 0:
        raise Unclear(f"its path states '{one.called}', but σ must be above 0. Give it with --sigma")
    plain = {other.value for other in levels if other.plain}
    for value in (one.value, one.value / 10, one.value / 100):
        if one.plain or value in plain or (value == one.value and _fits(value, largest)):
            return value
    seen = f"its largest radius is {largest:g} = {largest / one.value:.2g} σ"
    told = seen if largest else "it has no radius to judge by"
    better = next((v for v in (one.value / 100, one.value / 10) if _fits(v, largest)), None)
    hint = f" ({better:g} would fit)" if better else ""
    raise Unclear(
        f"σ isn't clear: '{one.called}' means {one.value:g}, but {told}{hint}. Give it with --sigma"
    )


def _fits(value: float, largest: float) -> bool:
    """Return whether the radii fit this level: possible at it, but not at a tenth of it."""
    return value > 0 and USUAL_SIGMAS * value / 10 < largest <= MOST_SIGMAS * value


def _trained(levels: Sequence[Level], sigma: float) -> tuple[float | None, list[str]]:
    """The level of the training, by the last name that states it."""
    if not levels:
        return None, []
    one = levels[-1]
    if one.plain or sigma in (one.value, one.value / 10, one.value / 100):
        return (one.value if one.plain else sigma), []
    if one.value in (1, 2):
        return one.value, []
    return None, [f"the training noise isn't clear from '{one.called}' and is left unknown"]
