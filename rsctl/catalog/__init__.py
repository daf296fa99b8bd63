"""What exists: methods, models, data sets, verifiers and attacks, the project's own and those of plugins.

A plugin is an importable package named under `plugins` in rsctl.toml; its top module may hold
`METHODS`, `MODELS`, `DATASETS`, `VERIFIERS`, `ATTACKS` and `CERTIFICATES`, each a sequence of declarations. It must not
import torch there: a declaration names its code as text.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import pkgutil
import traceback
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from rsctl.catalog.declare import Attack, DataSet, Method, Model, Verifier
from rsctl.errors import InputError, unknown
from rsctl.owners import is_mine, user_name

Declared = TypeVar("Declared", DataSet, Method, Model, Verifier, Attack)

_plugins: tuple[str, ...] = ()


_KINDS: dict[str, type] = {
    "METHODS": Method,
    "MODELS": Model,
    "DATASETS": DataSet,
    "VERIFIERS": Verifier,
    "ATTACKS": Attack,
}


def use_plugins(names: Iterable[str]) -> None:
    """Add the declarations of these packages; replaces what an earlier call named."""
    global _plugins
    _plugins = tuple(names)
    for lookup in (known_methods, known_models, known_datasets, known_verifiers, known_attacks):
        lookup.cache_clear()


def plugins() -> tuple[str, ...]:
    return _plugins


def plugin_modules() -> list[ModuleType]:
    modules = []
    for name in _plugins:
        try:
            _check_owner(name)
            modules.append(importlib.import_module(name))
        except ImportError as error:
            raise InputError(
                f"plugins of rsctl.toml: the package '{name}' can't be imported ({error}). Install it beside rsctl (pip), or remove it."
            ) from error
        except Exception as error:
            # A SyntaxError says itself where it is.
            frames = [
                f for f in traceback.extract_tb(error.__traceback__) if name.split(".")[0] in f.filename
            ]
            where = f" in {frames[-1].filename}, line {frames[-1].lineno}" if frames else ""
            raise InputError(
                f"plugins of rsctl.toml: importing '{name}' fails{where}: {type(error).__name__}: {error}."
            ) from error
    return modules


def _check_owner(name: str) -> None:
    """ImportError for a package of another user than this one and the one that rsctl itself is run from."""
    spec = importlib.util.find_spec(name.partition(".")[0])
    for place in map(Path, [spec.origin or "", *(spec.submodule_search_locations or ())] if spec else ()):
        if not is_mine(place) and place.stat().st_uid != os.stat(__file__).st_uid:
            raise ImportError(f"{place} belongs to user {user_name(place.stat().st_uid)}")


def declared(own: Sequence[Any], attribute: str) -> dict[str, Any]:
    """The project's own declarations and those of the plugins, by name."""
    found: dict[str, Any] = {}
    for declaration in [
        *own,
        *(entry for module in plugin_modules() for entry in getattr(module, attribute, ())),
    ]:
        kind = _KINDS.get(attribute)
        if kind and not isinstance(declaration, kind):
            raise InputError(
                f"plugins: {attribute} holds {declaration!r}; each entry is a rsctl.catalog.declare.{kind.__name__}."
            )
        if declaration.name in found:
            raise InputError(
                f"plugins: {attribute} declares '{declaration.name}', which exists already. Give it another name."
            )
        found[declaration.name] = declaration
    return found


@cache
def known_methods() -> dict[str, Method]:
    return declared(_each("methods", "METHOD"), "METHODS")


@cache
def known_verifiers() -> dict[str, Verifier]:
    return declared(_each("verifiers", "VERIFIER"), "VERIFIERS")


@cache
def known_attacks() -> dict[str, Attack]:
    return declared(_each("attacks", "ATTACK"), "ATTACKS")


def _each(folder: str, attribute: str) -> list[Any]:
    """The declaration of every module in a folder of this package."""
    package = importlib.import_module(f"{__name__}.{folder}")
    return [
        getattr(importlib.import_module(f"{package.__name__}.{entry.name}"), attribute)
        for entry in pkgutil.iter_modules(package.__path__)
    ]


@cache
def known_models() -> dict[str, Model]:
    from rsctl.catalog.models import MODELS

    return declared(MODELS, "MODELS")


@cache
def known_datasets() -> dict[str, DataSet]:
    from rsctl.catalog.datasets import DATASETS

    return declared(DATASETS, "DATASETS")


def find(kind: str, name: str, among: dict[str, Declared]) -> Declared:
    """The declaration of this name; the error lists those that exist."""
    if name not in among:
        raise InputError(unknown(kind, name, among))
    return among[name]
