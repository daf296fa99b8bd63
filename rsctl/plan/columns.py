"""Which radii the columns of printed tables have: those that a sweep asks about in each table's own norm."""

from __future__ import annotations

from collections.abc import Sequence

from rsctl.certificates import certificates
from rsctl.plan.plan import Entry
from rsctl.spec.runs import AttackSpec, CountSpec, VerifySpec
from rsctl.spec.sections import Certification

LINF = [0.0, 1 / 255, 2 / 255, 4 / 255, 8 / 255, 0.1, 0.2, 0.3]
"""Where nobody asks about ℓ∞: what papers report for CIFAR-10 and ImageNet, then for MNIST."""


def columns(entries: Sequence[Entry]) -> list[list[float]]:
    """Radii of each entry's columns.

    `certification.radii` are radii of the certificates' norms, and a verification may name radii of its own. An attack,
    and a verification that looks for the largest radius, have the columns that any of these ask for in their norm.
    """
    asked: dict[str, set[float]] = {}
    sampled = False
    for entry in entries:
        spec, settings = entry.table.spec, entry.resolved.point.certification
        if isinstance(spec, CountSpec):
            sampled = True
            for name in settings.certificates:
                asked.setdefault(certificates()[name].norm, set()).update(settings.radii)
        elif isinstance(spec, VerifySpec):
            asked.setdefault(spec.norm, set()).update(spec.radii)
    return [_of(entry, asked, sampled) for entry in entries]


def _of(entry: Entry, asked: dict[str, set[float]], sampled: bool) -> list[float]:
    spec, said = entry.table.spec, entry.resolved.point.certification.radii
    if not isinstance(spec, VerifySpec | AttackSpec) or (isinstance(spec, VerifySpec) and spec.radii):
        return list(entry.table.radii)
    if asked.get(spec.norm):
        return sorted(asked[spec.norm])
    # Radii that a file gives though it samples nothing are meant for what it does.
    meant = not sampled and said != Certification().radii
    return list(LINF if spec.norm == "linf" and not meant else said)
