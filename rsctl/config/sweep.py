"""sweep.toml → points: the raw file is expanded over its grid, then every point is validated."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rsctl.config.cascades import CascadeTable
from rsctl.config.point import Point
from rsctl.config.resolve import Planned, Resolved, resolve
from rsctl.config.toml_file import read_toml
from rsctl.config.validate import Invalid, Problem, check
from rsctl.errors import InputError

MOST_TABLES = 5_000
"""Most tables of a sweep, over all points: this many are planned within seconds."""
ONE_PER_SWEEP = ("name", "description", "cluster")
LEVELS = ("sigma", "seed", "certification.sigma")
"""Keys of `[method.grid]` that replace the sweep's own list: a paper's values often differ by noise level, and a network trained
without noise is certified under it."""


@dataclass(frozen=True)
class Sweep:
    """A validated sweep file."""

    name: str
    description: str
    cluster: str
    raw: dict[str, Any]
    points: tuple[Resolved, ...]
    cascades: tuple[CascadeTable, ...] = ()
    """Its [[cascade]] tables."""


def load_sweep(path: Path, data_root: Path, planned: Planned = lambda dataset, files: False) -> Sweep:
    """Read, expand and validate a sweep file; raises Invalid with every problem found."""
    return build_sweep(read_toml(path), str(path), data_root, planned)


def build_sweep(
    raw: dict[str, Any], file: str, data_root: Path, planned: Planned = lambda dataset, files: False
) -> Sweep:
    """Validate a sweep given as a dict; `file` is named in the problems, `planned` is that of `resolve`."""
    problems: list[Problem] = []
    resolved: list[Resolved] = []
    cascades = _cascades(raw, file, problems)
    seen: set[str] = set()
    for values, from_grid in expand(raw, file):
        found: list[Problem] = []
        point = check(Point, values, "", found, beside=("grid", "cascade"))
        if point is not None:
            try:
                one = resolve(point, data_root, found, planned)
            except InputError as error:
                found.append(Problem("", str(error)))
            else:
                resolved += [one] if one else []
        for problem in (_placed(one, values) for one in found):
            marked = Problem(f"grid.{problem.key}", problem.text) if problem.key in from_grid else problem
            if str(marked) not in seen:
                seen.add(str(marked))
                problems.append(marked)
    if problems:
        raise Invalid(file, problems)
    first = resolved[0].point
    return Sweep(first.name, first.description, first.cluster, raw, tuple(resolved), cascades)


def _cascades(raw: Mapping[str, Any], file: str, problems: list[Problem]) -> tuple[CascadeTable, ...]:
    entries = raw.get("cascade", [])
    entries = [entries] if isinstance(entries, dict) else entries
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise InputError(
            f"{file}: cascade: must be one or several [[cascade]] tables with levels and tau; it is {entries!r}."
        )
    found: list[CascadeTable] = []
    for number, entry in enumerate(entries):
        one = check(CascadeTable, entry, f"cascade.{number}", problems)
        if one in found:
            problems.append(
                Problem(
                    f"cascade.{number}.levels", "equals an earlier [[cascade]]: remove or change one of them."
                )
            )
        found += [one] if one else []
    return tuple(found)


def _placed(problem: Problem, values: Mapping[str, Any]) -> Problem:
    """The problem, with the key's correct place: a key added at the end of a file belongs to its last table."""
    *tables, key = problem.key.split(".")
    if tables and key in Point.model_fields and "key" in problem.text:
        return Problem(
            problem.key,
            f"{problem.text} '{key}' belongs to the top of the file: move it above the first table.",
        )
    under = [name for name, table in values.items() if isinstance(table, dict) and key in table]
    if not tables and under and problem.text == "is required.":
        return Problem(
            key,
            f"is required. The file has it under [{under[0]}]: to apply it to the whole sweep, move it above the first table.",
        )
    return problem


def expand(raw: Mapping[str, Any], file: str) -> Iterator[tuple[dict[str, Any], set[str]]]:
    """Every point of the grid as a raw table, with the dotted keys whose values came from the grid."""
    branches = list(_branches(raw, file))
    points = sum(math.prod(len(values) for values in axes.values()) for _, axes in branches)
    further = [raw.get(key) for key in ("verification", "attack")]
    tables = points * (1 + sum(len(entries) for entries in further if isinstance(entries, list)))
    if tables > MOST_TABLES:
        of = (
            "points"
            if tables == points
            else "tables (points of the grid, times what is verified and attacked)"
        )
        count = f"{tables:,}" if tables < 10**12 else "10¹² or more"
        raise InputError(
            f"{file}: {count} {of}; at most {MOST_TABLES:,} are allowed. Split it into several sweeps."
        )
    for base, axes in branches:
        for combination in itertools.product(*axes.values()):
            point = deepcopy(base)
            for key, value in zip(axes, combination, strict=True):
                _put(point, key, value, file)
            yield point, set(axes)


def overridden(raw: Mapping[str, Any], file: str) -> list[str]:
    """Dotted keys whose single value is unused: every point takes one from the grid."""
    found = [{key for key in axes if _has(base, key)} for base, axes in _branches(raw, file)]
    shared = set.intersection(*found)
    return sorted(key for key in set.union(*found) if key in shared or key.startswith("method."))


def _branches(raw: Mapping[str, Any], file: str) -> Iterator[tuple[dict[str, Any], dict[str, list[Any]]]]:
    """The values that all points of a method share, and the lists of its grid, by method."""
    base = {key: deepcopy(value) for key, value in raw.items() if key not in ("grid", "method", "cascade")}
    for table in ("dataset", "model"):
        if isinstance(base.get(table), str):
            base[table] = {"name": base[table]}
    grid = _flatten(raw.get("grid", {}), file, "grid")
    for method, own in _methods(raw.get("method"), file):
        axes = {**grid, **{key if key in LEVELS else f"method.{key}": v for key, v in own.items()}}
        yield {**base, **({} if method is None else {"method": method})}, axes


def _methods(raw: Any, file: str) -> list[tuple[dict[str, Any] | None, dict[str, list[Any]]]]:
    """Each method's table with its own grid taken out."""
    if raw is None:
        return [(None, {})]
    entries = raw if isinstance(raw, list) else [raw]
    result: list[tuple[dict[str, Any] | None, dict[str, list[Any]]]] = []
    for entry in entries:
        table = {"name": entry} if isinstance(entry, str) else entry
        if not isinstance(table, dict):
            raise InputError(
                f"{file}: method: give a name, a table, or several [[method]] tables; it is {entry!r}."
            )
        own = {key: value for key, value in table.items() if key != "grid"}
        result.append((own, _flatten(table.get("grid", {}), file, "method.grid")))
    if not result:
        raise InputError(f"{file}: method: give at least one.")
    return result


def _flatten(table: Any, file: str, where: str, prefix: str = "") -> dict[str, list[Any]]:
    """Nested grid tables as dotted keys with their lists of values."""
    if not isinstance(table, dict):
        raise InputError(
            f"{file}: {where}: must be a table of lists, such as sigma = [0.25, 0.5]; it is {table!r}."
        )
    flat: dict[str, list[Any]] = {}
    for key, value in table.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            flat |= _flatten(value, file, where, f"{name}.")
        elif not isinstance(value, list) or not value:
            raise InputError(
                f"{file}: {where}.{name}: must be a list of at least one value; it is {value!r}."
            )
        elif name.partition(".")[0] == "cascade":
            raise InputError(
                f"{file}: {where}.{name}: a grid can't list it; write several [[cascade]] tables at the top level of the file."
            )
        elif name in ONE_PER_SWEEP:
            raise InputError(
                f"{file}: {where}.{name}: a sweep has one {name}; write it at the top of the file."
            )
        else:
            flat[name] = value
    return flat


def _put(point: dict[str, Any], key: str, value: Any, file: str) -> None:
    *tables, last = key.split(".")
    current = point
    for table in tables:
        current = current.setdefault(table, {})
        if not isinstance(current, dict):
            raise InputError(f"{file}: grid.{key}: '{table}' is not a table.")
    current[last] = value


def _has(point: Mapping[str, Any], key: str) -> bool:
    current: Any = point
    for name in key.split("."):
        if not isinstance(current, Mapping) or name not in current:
            return False
        current = current[name]
    return True
