"""Checks that the sampling of a sequential table ended where its stopping rule ends it."""

from __future__ import annotations

import numpy as np

from rsctl.certificates.protocol import selected_classes
from rsctl.package.consistency import Discrepancy
from rsctl.store.extras.looks import stopping_rule
from rsctl.store.layout import Run
from rsctl.store.tables import read_table


def check_stopping(run: Run) -> list[Discrepancy]:
    """The images whose sampling ended before or after the rule ends it; a table's counts by look are compared where it is read."""
    spec, where = run.count_spec, f"runs/{run.key}/counts.h5"
    stored = read_table(run)
    if spec.stopping == "fixed" or not len(stored.rows):
        return []
    table = stored.counts()
    rule = stopping_rule(spec, table.dimension)
    if rule is None or table.looks is None:
        return [Discrepancy(where, f"has no counts by look, which the rule '{spec.stopping}' needs.")]
    looks, draws = table.looks, table.looks.draws
    if draws.shape != rule.draws.shape or (draws != rule.draws).any():
        return [Discrepancy(where, f"looks after other numbers of draws than the rule '{spec.stopping}'.")]
    last = (looks.counts.sum(axis=2) > 0).sum(axis=1) - 1
    found: list[Discrepancy] = []
    chosen = selected_classes(table)
    successes = np.take_along_axis(looks.counts, chosen[:, None, None], axis=2)[:, :, 0]
    early, late = np.zeros(len(table.n), np.bool_), np.zeros(len(table.n), np.bool_)
    for look in range(len(draws)):
        undecided = rule.undecided(successes[:, : look + 1])
        early |= (last == look) & undecided
        late |= (last > look) & ~undecided
    for rows, text in ((early, "before"), (late, "after")):
        if rows.any():
            found.append(
                Discrepancy(
                    where,
                    f"image {stored.rows.index[rows][0]}: its sampling ended {text} the rule '{spec.stopping}' ends it ({rows.sum()} images).",
                )
            )
    return found
