"""Turns pydantic's errors into messages with file, key, allowed values and the closest name."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Annotated, Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError

from rsctl.errors import InputError
from rsctl.plain import harmless, printable

Validated = TypeVar("Validated", bound=BaseModel)


@dataclass(frozen=True)
class Problem:
    """A problem of the input: the dotted key and a sentence."""

    key: str
    text: str

    def __str__(self) -> str:
        return f"{printable(harmless(self.key))}: {self.text}" if self.key else self.text


class Invalid(InputError):
    """One or more problems in one file."""

    def __init__(self, file: str, problems: list[Problem]) -> None:
        self.file, self.problems = file, problems
        super().__init__("\n".join(f"{file}: {problem}" for problem in problems))


def check(
    model: type[Validated],
    raw: Mapping[str, Any],
    prefix: str,
    problems: list[Problem],
    beside: tuple[str, ...] = (),
) -> Validated | None:
    """Validate a table; on failure add each problem with its dotted key and return None.

    `beside` are further keys of the table, which were removed before.
    """
    try:
        return model.model_validate(dict(raw))
    except ValidationError as error:
        for found in _joined(model, error.errors(include_url=False)):
            key = ".".join(str(part) for part in (prefix, *found["loc"]) if part != "")
            problems.append(Problem(key, _sentence(model, found, beside)))
        return None


def _joined(model: type[BaseModel], errors: list[Any]) -> list[Any]:
    """The errors, merged per key: for a key with several types, pydantic reports one per type, named after it."""
    joined: dict[tuple[Any, ...], Any] = {}
    for found in errors:
        path = found["loc"]
        of_type = (
            found["type"] != "extra_forbidden" and len(path) > 1 and isinstance(path[-1], str)
            and path[-1] not in _fields_at(model, path[:-1]) and path[-2] in _fields_at(model, path[:-2])
        )  # fmt: skip
        before = joined.get(path[:-1]) if of_type else None
        if before is not None:
            before["msg"] += f" or {found['msg'].removeprefix('Input should be ')}"
        elif of_type:
            joined[path[:-1]] = {**found, "loc": path[:-1]}
        else:
            joined[(*path, len(joined))] = found  # nothing else is merged
    return list(joined.values())


def _sentence(model: type[BaseModel], found: Any, beside: tuple[str, ...]) -> str:
    given = found["input"]
    if found["type"] == "extra_forbidden":
        fields = [*_fields_at(model, found["loc"][:-1]), *(beside if len(found["loc"]) == 1 else ())]
        near = get_close_matches(str(found["loc"][-1]), fields, n=1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        return f"no such key.{hint} Allowed here: {', '.join(sorted(fields)) or '(nothing)'}."
    if found["type"] == "missing":
        return "is required."
    message = found["msg"].removeprefix("Value error, ")
    shown = "" if isinstance(given, dict) else f", but it is {given!r}"
    several = " Several values go under [grid]." if "grid" in beside and isinstance(given, list) else ""
    return f"{message[0].lower()}{message[1:]}{shown}.{several}"


def _fields_at(model: type[BaseModel], path: tuple[Any, ...]) -> list[str]:
    """Field names of the sub-table at this path of a model."""
    current: Any = model
    for part in path:
        if isinstance(part, int):
            current = _entry_of(current)
            continue
        info = (
            current.model_fields.get(str(part))
            if isinstance(current, type) and issubclass(current, BaseModel)
            else None
        )
        if info is None:
            return []
        current = info.annotation
    return list(current.model_fields) if isinstance(current, type) and issubclass(current, BaseModel) else []


def _entry_of(annotation: Any) -> Any:
    """The type of a list's entries, without its constraints."""
    entry = next(iter(get_args(annotation)), None)
    return get_args(entry)[0] if get_origin(entry) is Annotated else entry


def module_exists(module: str) -> bool:
    """True where a declaration's module can be found; only the packages above it are imported."""
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # of a package above it
        return False
