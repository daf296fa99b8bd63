"""The cascades of a plan: the runs that each `[[cascade]]` names, of this sweep and of others. Nothing is run beyond them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rsctl.config.cascade_runs import Candidate, combine, differing
from rsctl.config.cascades import CascadeLevel, CascadeTable, cascade_id, cascade_title
from rsctl.config.runs import CountSpec
from rsctl.config.sweep import Sweep
from rsctl.config.validate import Problem
from rsctl.errors import InputError, UserError
from rsctl.plan.rows import PlannedRow
from rsctl.store.cascades import selection_key, stored_candidates
from rsctl.store.layout import Store
from rsctl.store.plan_fields import CascadeEntry, CascadeOriginRecord, PlanEntry


@dataclass(frozen=True)
class PlannedCascade:
    """One cascade: its levels and thresholds."""

    levels: tuple[Candidate[Any], ...]
    """Each with its `PlannedRow`, or the `PlanEntry` of another sweep."""
    taus: tuple[float, ...]
    tuned: CascadeOriginRecord | None = None
    """The origin of levels, order and thresholds, as the sweep file states it."""

    @property
    def id(self) -> str:
        """`RUN@0.9+RUN`."""
        return cascade_id([level.run for level in self.levels], self.taus)

    @property
    def text(self) -> str:
        """Methods, σ and thresholds."""
        return cascade_title(
            [(one.train.method, one.count.sigma, one.sweep) for one in self.levels], self.taus
        )

    def entry(self, rows: Sequence[PlannedRow], written: Sequence[PlanEntry]) -> CascadeEntry:
        """Its record in the plan of the sweep, whose rows were written as these entries."""
        by_row = {id(row): entry for row, entry in zip(rows, written, strict=True)}
        levels = [one.item if one.sweep else by_row[id(one.item)] for one in self.levels]
        return CascadeEntry(
            levels=levels, sweeps=[one.sweep for one in self.levels], taus=list(self.taus), tuned=self.tuned
        ).sealed()


def planned_cascades(
    sweep: Sweep, rows: Iterable[PlannedRow], store: Store | None, problems: dict[Problem, None]
) -> tuple[list[PlannedCascade], list[str]]:
    """The cascades of a sweep's rows, and notes on methods that lack a level; adds what is wrong to `problems`."""
    found: dict[str, PlannedCascade] = {}
    notes: list[str] = []
    if not sweep.cascades:
        return [], []
    own = [_candidate(row, row.table.spec) for row in rows if isinstance(row.table.spec, CountSpec)]
    mine: dict[tuple[str, str], Candidate[Any]] = {one.key: one for one in reversed(own)}
    for number, table in enumerate(sweep.cascades):
        key = f"cascade.{number}.levels"
        try:
            levels = [_within(level, sweep.name) for level in table.levels]
            candidates: list[Candidate[Any]] = [
                *own,
                *(stored_candidates(store, levels, own) if store else ()),
            ]
            combined, left_out = combine(levels, candidates)
            # A run of this sweep is its own, whichever other sweep has it, too.
            combined = [[mine.get(one.key, one) for one in runs] for runs in combined]
            if not combined:
                raise InputError(" ".join(["no method has a run at each of its levels.", *left_out[:1]]))
        except UserError as error:
            problems[Problem(key, str(error))] = None
            continue
        notes += [f"cascade.{number}: {text}" for text in left_out]
        for runs in combined:
            if refusal := next(_refusals(runs), ""):
                problems[Problem(key, refusal)] = None
            one = PlannedCascade(tuple(runs), table.taus, _origin(table))
            found.setdefault(one.id, one)
    return list(found.values()), notes


def _origin(table: CascadeTable) -> CascadeOriginRecord | None:
    if not (told := table.tuned):
        return None
    return CascadeOriginRecord(
        sweep=told.sweep, split=told.split, images=told.images, objective=told.objective
    )


def _within(level: CascadeLevel, sweep: str) -> CascadeLevel:
    """The level, without the name of the sweep that it is in."""
    return level.model_copy(update={"sweep": None}) if level.sweep == sweep else level


def _candidate(row: PlannedRow, spec: CountSpec) -> Candidate[PlannedRow]:
    train, images = row.resolved.train, selection_key(row.selection, spec)
    return Candidate(spec.run_id, train, spec, images, row.resolved.point.certification.alpha, row)


def _refusals(runs: Sequence[Candidate[Any]]) -> Iterator[str]:
    first = runs[0].count
    if first.noise != "gaussian" or first.stopping != "fixed":
        yield (
            f"a cascade is proved for Gaussian noise and a fixed n, but {runs[0].run} has noise = '{first.noise}' and "
            f"certification.stopping = '{first.stopping}'."
        )
    yield from itertools.chain.from_iterable(differing(runs[0], other) for other in runs[1:])
