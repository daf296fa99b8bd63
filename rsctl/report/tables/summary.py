"""Captions of tables, the best σ per radius, and the lines among which a best one may be named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rsctl.results.lines import Group, Line, groups, per_level
from rsctl.results.measurement import BROKEN, RHO, Measurement
from rsctl.results.rounding import percent_up, plain


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
        competes = line.complete and line.first.images and not line.degenerate
        if competes and BROKEN not in line.first.varying:
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
    row = group.first
    about = _heading(group)
    if row.estimated:
        stated = {"n": _draws(row, "n"), "n0": _draws(row, "n0"), "alpha": _stated(row.alpha)}
        about += "; " + ", ".join(f"{name} = {text}" for name, text in stated.items())
        if row.noise != "gaussian":
            about += f", {row.noise} noise"
        if row.stopping != "fixed":
            about += f", n is an upper limit: stopped by '{row.stopping}'"
    cells = [cell for line in group.lines for row in line.rows for cell in row.cells if cell.images]
    if not cells:
        return f"{about}. No image is finished yet."
    wrong = [row.wrong_claims for line in group.lines for row in line.rows if row.wrong_claims is not None]
    most = max(wrong, default=0)
    which = "image of a run is" if most == 1 else "images of a run are"
    bound = f" With probability {1 - RHO:g} at most {most} {which} certified wrongly, at any radius."
    proved = bound if wrong else ""
    widest = max(high - low for low, high in (cell.interval for cell in cells))
    return (
        f"{about}. Rounded down; over images, no 95 % Clopper-Pearson interval of "
        f"one run is wider than {percent_up(widest)} points.{proved}"
    )


def _draws(row: Measurement, key: str) -> str:
    return per_level(row, key) if row.levels else _stated(getattr(row, key))


def _stated(value: float | None) -> str:
    return "not stated" if value is None else plain(value)


def _heading(group: Group) -> str:
    row = group.first
    own = {line.first.own for line in group.lines}
    logged = "; of a line with (log) as logged (counts unknown)" if len(own) > 1 else ""
    return (
        f"Certified accuracy (%) at {row.norm} radius, {row.dataset} {row.split} ({row.subset}); "
        f"{row.certificate}: {row.guarantee}{logged}"
    )
