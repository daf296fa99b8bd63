"""Plugins: the packages named in rsctl.toml, imported and checked. An unusable one is left out with a reason."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import importlib.util
import os
import re
import reprlib
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, get_origin, get_type_hints

from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError

from rsctl.catalog.declare import Attack, DataSet, Defaults, Extra, Method, Model, Verifier
from rsctl.owners import is_mine, user_name

KINDS: dict[str, type] = {
    "METHODS": Method,
    "MODELS": Model,
    "DATASETS": DataSet,
    "VERIFIERS": Verifier,
    "ATTACKS": Attack,
    "EXTRAS": Extra,
}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,60}")
"""Allowed names; they become part of a folder's name."""


@dataclasses.dataclass(frozen=True)
class Plugin:
    """A package, with its declarations by attribute, or the reason why it can't be used."""

    name: str
    declared: Mapping[str, Sequence[Any]] = dataclasses.field(default_factory=dict)
    problem: str = ""


class Wrong(Exception):
    """A declaration is of the wrong kind."""


@cache
def load(names: tuple[str, ...]) -> tuple[Plugin, ...]:
    """These packages, each imported once; of two that declare one name the second can't be used."""
    found: list[Plugin] = []
    taken: dict[tuple[str, str], str] = {}
    for name in dict.fromkeys(names):
        plugin = _load(name)
        own = [
            (attribute, str(one.name)) for attribute in KINDS for one in plugin.declared.get(attribute, ())
        ]
        if twice := next((key for key in own if key in taken or own.count(key) > 1), None):
            who = taken.get(twice, name)
            problem = (
                f"{twice[0]} declares '{twice[1]}', which '{who}' already declares. Give it another name"
            )
            plugin = Plugin(name, problem=f"plugins of rsctl.toml: '{name}': {problem}.")
        else:
            taken |= dict.fromkeys(own, name)
        found.append(plugin)
    return tuple(found)


def _load(name: str) -> Plugin:
    try:
        # Its prints must not appear in a command's output.
        with contextlib.redirect_stdout(sys.stderr):
            _check_owner(name)
            module = importlib.import_module(name)
            if not getattr(module, "__file__", None):
                raise ImportError("it is a folder without __init__.py, or not a file")
            declared = {key: getattr(module, key) for key in (*KINDS, "CERTIFICATES") if hasattr(module, key)}
            for attribute, entries in declared.items():
                declared[attribute] = _checked(attribute, entries)
    except KeyboardInterrupt:
        raise
    except Wrong as error:
        return Plugin(name, problem=f"plugins of rsctl.toml: '{name}': {error}")
    except BaseException as error:
        # A plugin is arbitrary code: sys.exit() at its import must not end a command that doesn't use it.
        return Plugin(name, problem=f"plugins of rsctl.toml: {_why(name, error)}")
    return Plugin(name, declared)


def _check_owner(name: str) -> None:
    """ImportError for a package of another user than this one and the one that rsctl itself is run from."""
    spec = importlib.util.find_spec(name.partition(".")[0])
    for place in map(Path, [spec.origin or "", *(spec.submodule_search_locations or ())] if spec else ()):
        if not is_mine(place) and place.stat().st_uid != os.stat(__file__).st_uid:
            raise ImportError(f"{place} belongs to user {user_name(place.stat().st_uid)}")


def _why(name: str, error: BaseException) -> str:
    try:
        message = " ".join(str(error).split())[:300]
    except Exception:
        message = "?"
    if isinstance(error, ImportError):
        return f"the package '{name}' can't be imported ({message}). Install it beside rsctl (pip), name the folder it lies in by PYTHONPATH, or remove it."
    # A SyntaxError already contains its location.
    frames = [f for f in traceback.extract_tb(error.__traceback__) if name.split(".")[0] in f.filename]
    where = f" in {frames[-1].filename}, line {frames[-1].lineno}" if frames else ""
    return f"importing '{name}' fails{where}: {type(error).__name__}: {message}."


def _checked(attribute: str, entries: Any) -> list[Any]:
    if isinstance(entries, (str, bytes, Mapping)) or not isinstance(entries, Sequence):
        raise Wrong(f"{attribute} is {reprlib.repr(entries)}; it must be a list of declarations.")
    for entry in entries:
        if attribute in KINDS:
            _check_entry(attribute, KINDS[attribute], entry)
        else:
            _check_certificate(entry)
    return list(entries)


def _check_entry(attribute: str, kind: type, entry: Any) -> None:
    if not isinstance(entry, kind):
        made = f", made as {kind.__name__}(name=…)" if entry is kind else ""
        raise Wrong(
            f"{attribute} holds {reprlib.repr(entry)}; each entry is a rsctl.catalog.declare.{kind.__name__}{made} "
            f"(from rsctl.catalog.declare import {kind.__name__})."
        )
    declaration: Any = entry
    what = f"{kind.__name__} {reprlib.repr(declaration.name)}"
    _check_fields(what, declaration)
    if not _NAME.fullmatch(declaration.name):
        raise Wrong(f"{what}: a name has at most 61 letters, digits, '.', '-' and '_'.")
    for name, column in {**declaration.columns, **declaration.sampled}.items() if kind is Extra else ():
        _check_fields(f"{what}: column {reprlib.repr(name)}", column)
    for one in getattr(declaration, "defaults", ()):
        if not isinstance(one, Defaults):
            raise Wrong(
                f"{what}: defaults holds {reprlib.repr(one)}; each entry is a rsctl.catalog.declare.Defaults "
                "(from rsctl.catalog.declare import Defaults)."
            )
        _check_fields(f"{what}: a Defaults", one)


def _check_certificate(entry: Any) -> None:
    kinds = {"name": str, "title": str, "citation": str, "norm": str, "k": int}
    wrong = [name for name, kind in kinds.items() if not isinstance(getattr(entry, name, None), kind)]
    wrong += [] if hasattr(getattr(entry, "guarantee", None), "times_alpha") else ["guarantee"]
    wrong += [] if callable(getattr(entry, "certify", None)) else ["certify"]
    if wrong or isinstance(entry, type):
        raise Wrong(
            f"CERTIFICATES holds {reprlib.repr(entry)}; each entry is an object with name, title, citation, guarantee, norm, k "
            f"and certify(table, alpha){f', and its {wrong[0]} is wrong' if wrong else '; this is a class'} "
            "(from rsctl.certificates import Certified, Guarantee)."
        )


def _check_fields(what: str, declaration: Any) -> None:
    for field, adapter in _adapters(type(declaration)):
        value = getattr(declaration, field)
        if field == "defaults" and isinstance(value, (list, tuple)):
            continue  # one by one
        try:
            adapter.validate_python(value)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            must = f"{first['msg'][0].lower()}{first['msg'][1:]}"
            if field == "parameters":
                must = "must be a class derived from rsctl.catalog.declare.Parameters (from rsctl.catalog.declare import Parameters)"
            raise Wrong(f"{what}: {field}: {must}, but it is {reprlib.repr(value)}.") from error


def _adapters(kind: type) -> Iterator[tuple[str, TypeAdapter[Any]]]:
    hints = get_type_hints(kind)
    for field in dataclasses.fields(kind):
        # A list is accepted for a tuple; otherwise types are strict.
        hint = hints[field.name]
        config = ConfigDict(arbitrary_types_allowed=True, strict=get_origin(hint) is not tuple)
        with contextlib.suppress(PydanticUserError):
            yield field.name, TypeAdapter(hint, config=config)
