"""Attacks on the cascades of a plan: each [[attack]] table with target = "cascade", for each cascade of the sweep file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rsctl.config.runs import LevelBefore
from rsctl.config.sweep import Sweep
from rsctl.config.tables import attacks_cascades, cascade_attacks
from rsctl.config.validate import Problem
from rsctl.plan.cascades import PlannedCascade
from rsctl.plan.rows import PlannedRow, row_of


def attacked_cascades(
    sweep: Sweep, cascades: Sequence[PlannedCascade], problems: dict[Problem, None]
) -> Iterator[PlannedRow]:
    """The attacks as rows of their last levels; adds to `problems` what can't be attacked."""
    if not any(attacks_cascades(one.point) for one in sweep.points):
        return
    if not sweep.cascades:
        text = "'cascade' needs a cascade: add a [[cascade]] table with levels and tau."
        problems[Problem("attack.target", text)] = None
    for cascade in cascades:
        *others, last = cascade.levels
        if refusal := _refusal(cascade):
            problems[Problem("attack.target", refusal)] = None
            continue
        row: PlannedRow = last.item
        before = [
            LevelBefore(hash=one.train.hash, run=one.train.run_id, sigma=one.count.sigma, tau=tau)
            for one, tau in zip(others, cascade.taus, strict=True)
        ]
        resolved = row.resolved
        for table in cascade_attacks(resolved.point, resolved.train, resolved.shape, before):
            yield row_of(resolved, table, row.split_count)


def _refusal(cascade: PlannedCascade) -> str:
    """The reason why this cascade can't be attacked, or empty."""
    last = cascade.levels[-1]
    if other := next((one.sweep for one in cascade.levels if one.sweep), ""):
        return f"the cascade {cascade.text} has a level of the sweep '{other}': an attack needs all its levels in this sweep."
    if any(one.count.precision != last.count.precision for one in cascade.levels):
        return f"the levels of the cascade {cascade.text} have different certification precisions; an attack needs one."
    return ""
