"""Lines of a table or a figure: comparable measurements together, training seeds merged."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from rsctl.results.measurement import Measurement
from rsctl.results.notes import data_of
from rsctl.results.rounding import marked, plain


@dataclass(frozen=True)
class Spread:
    """A number over the training seeds of a line."""

    mean: float
    deviation: float
    """Standard deviation over the seeds (with n − 1); NaN for one seed."""


@dataclass(frozen=True)
class Line:
    """One line of a table: a method at one σ; several rows where they differ in the training seed alone."""

    every: list[Measurement]

    @cached_property
    def rows(self) -> list[Measurement]:
        """Rows with finished images, over which numbers are computed; all rows where none has any."""
        return [row for row in self.every if row.images] or self.every

    @property
    def missing(self) -> list[Measurement]:
        """Seeds without finished images, where others have some."""
        return [row for row in self.every if not row.images] if self.rows != self.every else []

    @property
    def first(self) -> Measurement:
        return self.rows[0]

    @property
    def label(self) -> str:
        """The method and its settings, with a mark where the network of a seed learned nothing."""
        marks = [row.degenerate.mark for row in self.rows if row.degenerate]
        share = f" in {len(marks)} of {len(self.rows)} seeds" if len(marks) < len(self.rows) else ""
        return marked(self.first.name, " and ".join(dict.fromkeys(marks)) + share if marks else "")

    @property
    def degenerate(self) -> bool:
        """True where the network of a seed learned nothing."""
        return any(row.degenerate for row in self.rows)

    @property
    def complete(self) -> bool:
        return all(row.complete for row in self.every)

    @property
    def seeds(self) -> str:
        """`0`, or `3 seeds`, and the number of missing ones."""
        seed = self.first.seed
        told = f"{len(self.rows)} seeds" if len(self.rows) > 1 else "–" if seed is None else str(seed)
        return f"{told} ({len(self.missing)} missing)" if self.missing else told

    def over(self, number: Callable[[Measurement], float]) -> Spread:
        """Mean and standard deviation over the seeds."""
        values = [number(row) for row in self.rows]
        if len(values) == 1 or any(math.isnan(value) for value in values):
            return Spread(values[0] if len(values) == 1 else float("nan"), float("nan"))
        return Spread(statistics.fmean(values), statistics.stdev(values))

    def accuracy(self, column: int) -> Spread:
        return self.over(lambda row: row.cells[column].accuracy)


@dataclass(frozen=True)
class Group:
    """Comparable lines, which share a table: same images, norm, certificate, arithmetic, alpha, n, n0 and radii."""

    lines: list[Line]

    @property
    def first(self) -> Measurement:
        return self.lines[0].first

    @property
    def radii(self) -> list[float]:
        return [cell.radius for cell in self.first.cells]


def groups(rows: Sequence[Measurement], *, merge_seeds: bool = True) -> list[Group]:
    """The tables of a sweep, in its order."""
    tables: dict[Any, dict[Any, list[Measurement]]] = {}
    for row in rows:
        line = tables.setdefault(_table_key(row), {})
        line.setdefault(_line_key(row), []).append(row)
    found = []
    for lines in tables.values():
        by_seed = [
            sorted(rows, key=lambda row: -1 if row.seed is None else row.seed) for rows in lines.values()
        ]
        apart = by_seed if merge_seeds else [[row] for rows in by_seed for row in rows]
        found.append(Group([Line(rows) for rows in apart]))
    return found


def per_level(row: Measurement, key: str) -> str:
    """A setting of a cascade's levels: `1000 per level`, or `1000 → 10000`."""
    values = [plain(getattr(one, key)) for one in row.levels]
    return f"{values[0]} per level" if len(set(values)) == 1 else " → ".join(values)


def _table_key(row: Measurement) -> tuple[Any, ...]:
    return (
        row.dataset, row.split, row.certificate, row.norm, row.k, (row.alpha, row.n, row.n0) if row.estimated else (), row.noise, row.arithmetic, row.stopping, row.subset_key,
        tuple(cell.radius for cell in row.cells),
        (per_level(row, "n"), per_level(row, "n0"), row.guarantee) if row.levels else (),
        # Files that the data set's name doesn't identify; unknown for a log.
        data_of(row) if row.own and row.training.data else "",
    )  # fmt: skip


def _line_key(row: Measurement) -> tuple[Any, ...]:
    """Key that is equal for runs that differ in the training seed alone."""
    if not row.own:
        # Logs without a seed aren't known to be two trainings of one method.
        apart = row.run if row.seed is None else ""
        return ("log", row.method, row.model, row.sigma, row.trained_sigma, row.counted, row.path_part, apart)
    recipe = row.recipe or row.training.model_dump_json(exclude={"seed"})
    return ("run", recipe, row.spec.model_dump_json(exclude={"model_hash", "model_run"}))
