"""What exists: methods, models and data sets, the project's own and those of plugins.

A plugin is an importable package named under `plugins` in rsctl.toml; its top module may hold
`METHODS`, `MODELS`, `DATASETS` and `CERTIFICATES`, each a sequence of declarations. It must not
import torch there: a declaration names its code as text.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Sequence
from functools import cache
from types import ModuleType
from typing import Any, TypeVar

from rsctl.catalog.declare import DataSet, Method, Model
from rsctl.errors import InputError, unknown

Declared = TypeVar("Declared", DataSet, Method, Model)

_plugins: tuple[str, ...] = ()


def use_plugins(names: Iterable[str]) -> None:
    """Add the declarations of these packages; replaces what an earlier call named."""
    global _plugins
    _plugins = tuple(names)
    for lookup in (known_methods, known_models, known_datasets):
        lookup.cache_clear()


def plugins() -> tuple[str, ...]:
    return _plugins


def plugin_modules() -> list[ModuleType]:
    modules = []
    for name in _plugins:
        try:
            modules.append(importlib.import_module(name))
        except ImportError as error:
            raise InputError(
                f"plugins: the package '{name}' can't be imported ({error}). Install it beside rsctl, or remove it."
            ) from error
    return modules


def declared(own: Sequence[Any], attribute: str) -> dict[str, Any]:
    """The project's own declarations and those of the plugins, by name."""
    found: dict[str, Any] = {}
    for declaration in [
        *own,
        *(entry for module in plugin_modules() for entry in getattr(module, attribute, ())),
    ]:
        if declaration.name in found:
            raise InputError(
                f"plugins: {attribute} declares '{declaration.name}', which exists already. Give it another name."
            )
        found[declaration.name] = declaration
    return found


@cache
def known_methods() -> dict[str, Method]:
    package = importlib.import_module(f"{__name__}.methods")

    own = [
        importlib.import_module(f"{package.__name__}.{entry.name}").METHOD
        for entry in pkgutil.iter_modules(package.__path__)
    ]
    return declared(own, "METHODS")


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
