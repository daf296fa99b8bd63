"""Registry of methods, models, data sets, verifiers and attacks, the project's own and those of plugins.

A plugin is an importable package named under `plugins` in rsctl.toml; its top module may hold
`METHODS`, `MODELS`, `DATASETS`, `VERIFIERS`, `ATTACKS`, `EXTRAS` and `CERTIFICATES`, each a sequence of declarations. It must not
import torch there: a declaration names its code as text.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from rsctl.catalog.declare import Attack, DataSet, Extra, Method, Model, Verifier
from rsctl.errors import InputError, unknown

if TYPE_CHECKING:
    from rsctl.catalog.plugin_packages import Plugin

Declared = TypeVar("Declared", DataSet, Method, Model, Verifier, Attack, Extra)

_named: tuple[str, ...] = ()
_clashes: dict[tuple[str, str, str], str] = {}
"""Declarations of plugins under names that rsctl already uses: plugin, attribute and name."""


def use_plugins(names: Iterable[str]) -> None:
    """Add the declarations of these packages; replaces what an earlier call named."""
    global _named
    _named = tuple(names)
    for lookup in _LOOKUPS:
        lookup.cache_clear()


def _load() -> Sequence[Plugin]:
    if not _named:
        return ()
    from rsctl.catalog.plugin_packages import load

    return load(_named)


def plugins() -> tuple[str, ...]:
    """Names of the plugins that can be used."""
    return tuple(plugin.name for plugin in _load() if not plugin.problem)


def plugin_problems() -> list[str]:
    """A sentence for each plugin that can't be used, or only in part. Only sweeps that need it are refused."""
    if _named:
        for lookup in _LOOKUPS:
            lookup()
    clashes = [text for (name, *_), text in _clashes.items() if name in _named]
    return [plugin.problem for plugin in _load() if plugin.problem] + clashes


def declared(own: Sequence[Any], attribute: str) -> dict[str, Any]:
    """The project's own declarations and those of the plugins, by name."""
    found = {declaration.name: declaration for declaration in own}
    for plugin in _load():
        for declaration in plugin.declared.get(attribute, ()):
            if declaration.name in found:
                _clashes[plugin.name, attribute, declaration.name] = (
                    f"plugins of rsctl.toml: '{plugin.name}': {attribute} declares '{declaration.name}', which exists already: "
                    "sweeps use the existing one. Give the plugin's another name."
                )
            else:
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
    return declared([model for family in _each("models", "MODELS") for model in family], "MODELS")


@cache
def known_datasets() -> dict[str, DataSet]:
    from rsctl.catalog.datasets import DATASETS

    return declared(DATASETS, "DATASETS")


@cache
def known_extras() -> dict[str, Extra]:
    """Measurements of plugins; those of rsctl have keys and columns of their own (`rsctl.store.extras`)."""
    return declared((), "EXTRAS")


def model_table(table: Mapping[str, Any]) -> dict[str, Any]:
    """The [model] table with a shorthand written out: "timm:resnet18" is name = "timm", architecture = "resnet18"."""
    name, colon, value = str(table.get("name", "")).partition(":")
    declaration = known_models().get(name)
    if not colon or declaration is None or not declaration.shorthand:
        return dict(table)
    return {**table, "name": name, declaration.shorthand: value}


def network_name(model: str, parameters: Mapping[str, Any]) -> str:
    """An architecture as a sweep file names it: `resnet20`, or `timm:resnet18` of a library."""
    declaration = known_models().get(model)
    named = parameters.get(declaration.shorthand) if declaration else None
    return f"{model}:{named}" if named else model


_LOOKUPS = (known_methods, known_models, known_datasets, known_verifiers, known_attacks, known_extras)


def find(kind: str, name: str, among: dict[str, Declared]) -> Declared:
    """The declaration of this name; the error lists those that exist."""
    if name not in among:
        raise InputError(unknown_name(kind, name, among))
    return among[name]


def unknown_name(kind: str, name: str, among: Iterable[str]) -> str:
    """The message for an unknown name, with the plugins that can't be used: it may be one of theirs."""
    return " ".join([unknown(kind, name, among), *plugin_problems()])
