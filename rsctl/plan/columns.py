"""Radii of the columns of printed tables: those that a sweep requests in each table's norm."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from rsctl.certificates import certificates
from rsctl.certificates.possible import Draws, reach
from rsctl.config.runs import AttackSpec, CountSpec, VerifySpec
from rsctl.config.sections import Certification
from rsctl.plan.rows import PlannedRow

LINF = [0.0, 1 / 255, 2 / 255, 4 / 255, 8 / 255, 0.1, 0.2, 0.3]
"""Default ℓ∞ radii: those that papers report for CIFAR-10 and ImageNet, then for MNIST."""


def columns(entries: Sequence[PlannedRow]) -> list[list[float]]:
    """Return the radii of each entry's columns.

    `certification.radii` are radii in the certificates' norms; the default ones end at the largest possible for sigma, n and
    alpha. A verification may have radii of its own. An attack, and a verification of the largest radius, have the columns
    that any of these request in their norm.
    """
    requested: dict[str, set[float]] = {}
    sampled = False
    for entry in entries:
        spec, settings = entry.table.spec, entry.resolved.point.certification
        if isinstance(spec, CountSpec):
            sampled = True
            for name in settings.certificates:
                requested.setdefault(certificates()[name].norm, set()).update(settings.radii)
        elif isinstance(spec, VerifySpec):
            requested.setdefault(spec.norm, set()).update(spec.radii)
    possible = possible_radii(entries)
    return [_of(entry, requested, sampled, possible) for entry in entries]


def possible_radii(entries: Sequence[PlannedRow]) -> list[float]:
    """Return the default radii up to the largest that any of these can certify: one list, so that all fit in one table."""
    best = max((_reach(entry) for entry in entries if not _given(entry)), default=inf)
    return [radius for radius in Certification().radii if radius <= best]


def _given(entry: PlannedRow) -> bool:
    return "radii" in entry.resolved.point.certification.model_fields_set


def _reach(entry: PlannedRow) -> float:
    """Return the radius of its best certificate if all draws agree."""
    spec, shape, settings = entry.table.spec, entry.resolved.shape, entry.resolved.point.certification
    if not isinstance(spec, CountSpec):
        return 0.0
    if not spec.estimated:
        return inf
    draws = Draws.of(spec, shape.classes, shape.dimension)
    return max(reach(name, draws, spec.n, settings.alpha) for name in settings.certificates)


def _of(
    entry: PlannedRow, requested: dict[str, set[float]], sampled: bool, possible: list[float]
) -> list[float]:
    spec, radii = entry.table.spec, entry.resolved.point.certification.radii
    if not isinstance(spec, VerifySpec | AttackSpec):
        return list(radii if _given(entry) else possible)
    if isinstance(spec, VerifySpec) and spec.radii:
        return list(entry.table.radii)
    if requested.get(spec.norm):
        return sorted(requested[spec.norm])
    # Radii in a file without certification are meant for its verification or attack.
    meant = not sampled and radii != Certification().radii
    return list(LINF if spec.norm == "linf" and not meant else radii)
