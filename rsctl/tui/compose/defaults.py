"""The defaults in effect in a form: each method has its own, and often others at each noise level.

Imported on a background thread only.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo

from rsctl.catalog import known_methods, known_models
from rsctl.catalog.fitted import Sourced, defaults, known_defaults
from rsctl.catalog.shape import shape_of
from rsctl.config.resolve import FILE
from rsctl.errors import InputError
from rsctl.tui.compose.draft import Draft
from rsctl.tui.compose.form_text import shown

OWN = "default"
"""Source of rsctl's own defaults."""
Values = list[tuple[Any, str]]
"""One value per noise level, each with its source."""


@dataclass(frozen=True)
class EffectiveDefault:
    """The value in effect where a field isn't set: `90 / 150` if two methods differ, `5, 10` if two noise levels of one do."""

    text: str
    source: str
    several: bool = False


@dataclass(frozen=True)
class _Trained:
    """One method of the draft: its place, its name, and its defaults at each noise level."""

    place: int
    name: str
    at: list[Sourced]


class InEffect:
    """The defaults of a draft's methods, for its data set, model and noise levels."""

    def __init__(self, draft: Draft, data_root: Path) -> None:
        self._draft, self._data_root = draft, data_root
        self._methods = [
            _Trained(place, name, [self._defaults(place, name, sigma) for sigma in self._sigmas(place)])
            for place in range(len(draft.methods))
            for name in _each(draft.get(f"method.{place}.name"))
            if isinstance(name, str) and name in known_methods()
        ]

    def hyperparameter(self, place: int, name: str, info: FieldInfo) -> EffectiveDefault:
        """The default of a field of one method."""
        mine = [(one.name, _of(one, name, info)) for one in self._methods if one.place == place]
        return _joined(mine) if mine else own(info)

    def recipe(self, name: str, info: FieldInfo) -> EffectiveDefault:
        """The default of a recipe field for all methods; a method's own table takes precedence."""
        said = []
        for one in self._methods:
            mine = _each(self._draft.get(f"method.{one.place}.training.{name}"))
            said.append((one.name, [(value, FILE) for value in mine] or _of(one, name, info)))
        return _joined(said) if said else own(info)

    def apart(self, name: str) -> str:
        """Values of a recipe field that methods override in their own tables."""
        found = [
            (one, _each(self._draft.get(f"method.{one.place}.training.{name}"))) for one in self._methods
        ]
        return "; ".join(f"{one.name}: {', '.join(map(shown, values))}" for one, values in found if values)

    def _sigmas(self, place: int) -> list[float]:
        levels = _each(self._draft.get(f"method.{place}.sigma")) or _each(self._draft.get("sigma"))
        return [float(one) for one in levels if isinstance(one, (int, float))] or [0.0]

    def _defaults(self, place: int, name: str, sigma: float) -> Sourced:
        method, (dataset, _) = known_methods()[name], self._draft.get("dataset.name")
        data = {key: value for key, value in self._draft.raw["dataset"].items() if key != "name"}
        model = known_models().get(str(self._draft.get("model.name")[0]))
        given = {**_table(self._draft.raw), **_table(self._draft.methods[place])}
        try:
            shape = shape_of(str(dataset), data, self._data_root)
        except InputError:
            model = None
        if model is None:
            return known_defaults(method, str(dataset or ""), sigma)
        return defaults(method, model, str(dataset), sigma, given, shape.counts["train"], shape.size)


def own(info: FieldInfo) -> EffectiveDefault:
    """The default from the field's declaration."""
    if info.is_required():
        return EffectiveDefault("", "required")
    return EffectiveDefault(shown(info.get_default(call_default_factory=True)), OWN)


def _of(one: _Trained, name: str, info: FieldInfo) -> Values:
    fallback = None if info.is_required() else info.get_default(call_default_factory=True)
    return [found.get(name, (fallback, "required" if info.is_required() else OWN)) for found in one.at]


def _each(found: tuple[Any, bool]) -> list[Any]:
    """The values of a field; a field that is itself a list has one."""
    value, in_grid = found
    if value is None:
        return []
    return value if in_grid and isinstance(value, list) else [value]


def _table(of: dict[str, Any]) -> dict[str, Any]:
    table = of.get("training")
    return table if isinstance(table, dict) else {}


def _joined(said: Iterable[tuple[str, Values]]) -> EffectiveDefault:
    texts, sources = [], []
    for name, values in said:
        levels = [shown(value) for value, _ in values]
        texts.append(", ".join(levels if len(set(levels)) > 1 else levels[:1]) or "none")
        sources.append((name, ", ".join(dict.fromkeys(source for _, source in values))))
    differ = len(set(texts)) > 1
    text = " / ".join(texts) if differ else texts[0]
    whose = dict.fromkeys(source for _, source in sources)
    source = next(iter(whose)) if len(whose) == 1 else "; ".join(f"{name}: {one}" for name, one in sources)
    several = differ or any(len({shown(value) for value, _ in values}) > 1 for _, values in said)
    return EffectiveDefault("" if text == "none" else text, source, several)
