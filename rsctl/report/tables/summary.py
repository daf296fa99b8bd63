"""Rows → the lines of a printed table: comparable ones together, seeds merged, the best σ per radius."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from rsctl.report.measured import RHO, AnyRow, LoggedRow
from rsctl.report.notes import data_of
from rsctl.report.typeset import marked, percent_up, plain


@dataclass(frozen=True)
class Spread:
    """A number over the training seeds of a line."""

    mean: float
    deviation: float
    """Standard deviation over the seeds (with n − 1); NaN for one seed."""


@dataclass(frozen=True)
class Line:
    """One line of a table: a method at one σ; several rows where they differ in the training seed alone."""

    every: list[AnyRow]

    @cached_property
    def rows(self) -> list[AnyRow]:
        """Rows with finished images, over which numbers are computed; all rows where none has any."""
        return [row for row in self.every if row.images] or self.every

    @property
    def missing(self) -> list[AnyRow]:
        """Seeds without finished images, where others have some."""
        return [row for row in self.every if not row.images] if self.rows != self.every else []

    @property
    def first(self) -> AnyRow:
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

    def over(self, number: Callable[[AnyRow], float]) -> Spread:
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
    def first(self) -> AnyRow:
        return self.lines[0].first

    @property
    def radii(self) -> list[float]:
        return [cell.radius for cell in self.first.cells]


def groups(rows: Sequence[AnyRow], *, merge_seeds: bool = True) -> list[Group]:
    """The tables of a sweep, in its order."""
    tables: dict[Any, dict[Any, list[AnyRow]]] = {}
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


def _table_key(row: AnyRow) -> tuple[Any, ...]:
    return (
        row.dataset, row.split, row.certificate, row.norm, row.k, (row.alpha, row.n, row.n0) if row.estimated else (), row.noise, row.arithmetic, row.stopping, row.subset_key,
        tuple(cell.radius for cell in row.cells),
        # Files that the data set's name doesn't identify; unknown for a log.
        "" if isinstance(row, LoggedRow) or not row.train.data else data_of(row),
    )  # fmt: skip


def _line_key(row: AnyRow) -> tuple[Any, ...]:
    """Key that is equal for runs that differ in the training seed alone."""
    if isinstance(row, LoggedRow):
        # Logs without a seed aren't known to be two trainings of one method.
        return (
            "log",
            row.method,
            row.model,
            row.sigma,
            row.trained_sigma,
            row.counted,
            row.told,
            row.run if row.seed is None else "",
        )
    recipe = row.recipe or row.train.model_dump_json(exclude={"seed"})
    return ("run", recipe, row.spec.model_dump_json(exclude={"model_hash", "model_run"}))


@dataclass(frozen=True)
class Best:
    """A method's best line at each radius, over σ."""

    label: str
    model: str
    lines: list[Line]
    """One per radius."""


def best_sigmas(group: Group) -> list[Best]:
    """Per method and model the line with the highest mean accuracy at each radius; methods with one σ have no choice.

    Only finished lines of networks that learned something compete, and seeds are merged: the best of several is no result.
    Empty where no method has several σ.
    """
    methods: dict[tuple[str, str], list[Line]] = {}
    (merged,) = groups([row for line in group.lines for row in line.every])
    for line in merged.lines:
        if line.complete and line.first.images and not line.degenerate:
            methods.setdefault((line.label, line.first.model), []).append(line)
    if not any(len({line.first.sigma for line in lines}) > 1 for lines in methods.values()):
        return []
    return [
        Best(label, model, [_best(lines, column) for column in range(len(group.radii))])
        for (label, model), lines in methods.items()
    ]


def _best(lines: list[Line], column: int) -> Line:
    return max(lines, key=lambda line: line.accuracy(column).mean)


def contests(group: Group) -> list[list[int]]:
    """Per σ the lines among which a best one may be named: finished, of networks that learned something, and not
    contradicted by an attack.

    None of a σ at which lines of one method and model compete: the best of several seeds is no result, and the best of
    several settings was tuned on these images.
    """
    sigmas: dict[float, list[int]] = {}
    for i, line in enumerate(group.lines):
        told = {} if isinstance(line.first, LoggedRow) else line.first.varying
        if line.complete and line.first.images and not line.degenerate and "BROKEN certificates" not in told:
            sigmas.setdefault(line.first.sigma, []).append(i)

    def name(i: int) -> tuple[str, str, str]:
        row = group.lines[i].first
        return row.source, row.method, row.model

    return [lines for lines in sigmas.values() if len(set(map(name, lines))) == len(lines)]


def winners(values: Sequence[str | None]) -> set[int]:
    """Positions of the largest of these printed numbers; none where there is no choice (None doesn't compete)."""
    numbers = {i: float(value) for i, value in enumerate(values) if value is not None}
    if len(set(numbers.values())) < 2:
        return set()
    return {i for i, number in numbers.items() if number == max(numbers.values())}


def caption(group: Group) -> str:
    """Caption of a table."""
    row = group.first
    about = _heading(group)
    if row.estimated:
        about += "; " + ", ".join(
            f"{name} = {'not stated' if value is None else plain(value)}"
            for name, value in (("n", row.n), ("n0", row.n0), ("alpha", row.alpha))
        )
        if row.noise != "gaussian":
            about += f", {row.noise} noise"
        if row.stopping != "fixed":
            about += f", n is an upper limit: stopped by '{row.stopping}'"
    cells = [cell for line in group.lines for row in line.rows for cell in row.cells if cell.images]
    if not cells:
        return f"{about}. No image is finished yet."
    wrong = [row.wrong_claims for line in group.lines for row in line.rows if row.wrong_claims is not None]
    proved = (
        f" With probability {1 - RHO:g} at most {max(wrong)} {'image of a run is' if max(wrong) == 1 else 'images of a run are'} "
        "certified wrongly, at any radius."
        if wrong
        else ""
    )
    widest = max(high - low for low, high in (cell.interval for cell in cells))
    return (
        f"{about}. Rounded down; over images, no 95 % Clopper-Pearson interval of "
        f"one run is wider than {percent_up(widest)} points.{proved}"
    )


def _heading(group: Group) -> str:
    row = group.first
    own = {isinstance(line.first, LoggedRow) for line in group.lines}
    logged = "; of a line with (log) as logged (counts unknown)" if len(own) > 1 else ""
    return (
        f"Certified accuracy (%) at {row.norm} radius, {row.dataset} {row.split} ({row.subset}); "
        f"{row.certificate}: {row.guarantee}{logged}"
    )
