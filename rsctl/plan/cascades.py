"""The cascades of a plan: the runs that each `[[cascade]]` names, of this sweep and of others.

Nothing is run beyond them. With `order = "as-needed"` a level after the first is a run of its own, in place of the one that
would sample every image.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rsctl.certificates.cascade import bounds_of
from rsctl.config.cascade_runs import Candidate, combine, differing
from rsctl.config.cascades import CascadeLevel, CascadeTable, cascade_id, cascade_title
from rsctl.config.needed import Needed
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
    replaced: tuple[tuple[str, str], ...] = ()
    """Keys of the runs in whose place its levels are sampled as needed."""

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
            refusals = [*_refusals(runs), *(_unneeded(runs) if table.order == "as-needed" else ())]
            if refusals:
                problems[Problem(key, refusals[0])] = None
                continue
            one = PlannedCascade(tuple(runs), table.taus, _origin(table))
            if table.order == "as-needed":
                one = _as_needed(one, table, mine)
            found.setdefault(one.id, one)
    return list(found.values()), notes


def _origin(table: CascadeTable) -> CascadeOriginRecord | None:
    if not (told := table.tuned):
        return None
    return CascadeOriginRecord(
        sweep=told.sweep, split=told.split, images=told.images, objective=told.objective
    )


def rows_with(rows: Sequence[PlannedRow], cascades: Sequence[PlannedCascade]) -> list[PlannedRow]:
    """The rows, with the levels that are sampled as needed in place of the runs that only such cascades have."""
    levels = {level.key: level.item for one in cascades for level in one.levels if not level.sweep}
    replaced = {key for one in cascades for key in one.replaced} - set(levels)
    kept = [
        row
        for row in rows
        if not isinstance(row.table.spec, CountSpec) or _candidate(row, row.table.spec).key not in replaced
    ]
    return kept + [row for row in levels.values() if row.table.spec.needed]


def _as_needed(
    cascade: PlannedCascade, table: CascadeTable, known: dict[tuple[str, str], Candidate[Any]]
) -> PlannedCascade:
    """The cascade with levels after the first that sample what those before leave; `known` has those of other cascades, too."""
    first, *later = cascade.levels
    levels = [first]
    share = first.alpha / bounds_of(len(cascade.levels))
    for level in later:
        needed = Needed(
            levels=[one.count.hash for one in levels],
            runs=[one.run for one in levels],
            taus=list(cascade.taus[: len(levels)]),
            share=share,
            settled_radius=table.settled_radius,
        )
        # Measurements beside the counts are for certificates that refuse such a table.
        count = level.count.model_copy(
            update={"needed": needed, "shell_edges": [], "transfer": 0, "gradient": False, "extras": {}}
        )
        count = CountSpec.model_validate(count.model_dump())
        launch = {**level.item.table.launch, "certificates": []}
        row = replace(level.item, table=replace(level.item.table, spec=count, launch=launch))
        one = replace(level, run=count.run_id, count=count, item=row)
        levels.append(known.setdefault(one.key, one))
    return replace(cascade, levels=tuple(levels), replaced=tuple(one.key for one in later))


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
    for one in runs:
        if one.count.needed:
            yield f"{one.run} samples only what earlier levels of its own cascade leave: it can't be a level of another one."
    yield from itertools.chain.from_iterable(differing(runs[0], other) for other in runs[1:])


def _unneeded(runs: Sequence[Candidate[Any]]) -> Iterator[str]:
    """Reasons why levels can't be sampled as needed."""
    for one in runs:
        if one.sweep:
            yield f'order = "as-needed" is for levels of this sweep, but {one.run} is of sweep {one.sweep}.'
        for key, value in (("arithmetic", "float"), ("selection", "noise")):
            if (its := getattr(one.count, key)) != value:
                yield f"order = \"as-needed\" needs certification.{key} = '{value}', but {one.run} has '{its}'."
