"""The form as plain values, without slow imports."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from rsctl.tui.compose.draft import LISTS, Draft


@dataclass(frozen=True)
class Field:
    """One field. `parse` turns text into (value, whether it is a list for the grid) or raises an InputError."""

    key: str
    label: str
    help: str
    value: str
    is_set: bool
    default: str
    source: str
    """Source of the default; for a value that is set, the methods that override it."""
    options: tuple[tuple[str, str], ...]
    """Allowed values with a remark each, if there are finitely many."""
    parse: Callable[[str], tuple[Any, bool]]
    problem: str = ""
    grid: bool = False
    """Its values span the grid."""
    many: bool = False
    """Its value is itself a list."""
    several: bool = False
    """Its default differs between methods or noise levels."""
    special: bool = False
    """Few sweeps need it."""

    @property
    def proposed(self) -> str:
        """Initial text of its prompt."""
        return self.value or ("" if self.several else self.default)

    def with_problem(self, problem: str) -> Field:
        return replace(self, problem=problem) if problem else self


BASIC: dict[str, tuple[str, ...]] = {
    "Noise and repetition": ("sigma", "noise", "seed"),
    "Training": ("epochs", "batch_size", "optimizer", "lr", "weight_decay", "schedule"),
    "Certification": ("n0", "n", "alpha", "certificates", "split", "skip", "max_images", "shards", "radii"),
}
"""Basic fields of the sections that fold the rest as advanced; other sections show every field."""


@dataclass(frozen=True)
class Section:
    """Fields that belong together."""

    title: str
    fields: tuple[Field, ...]

    @property
    def basic(self) -> list[Field]:
        """Fields that most sweeps set; all fields in a section without advanced ones."""
        wanted = BASIC.get(self.title)
        return [field for field in self.fields if wanted is None or field.label in wanted]

    @property
    def expert(self) -> list[Field]:
        basic = self.basic
        return [field for field in self.fields if field not in basic]


@dataclass
class Composed:
    """The form for a draft, checked."""

    draft: Draft
    sections: tuple[Section, ...]
    problems: tuple[str, ...]
    plan: str
    """Its description, empty if there are problems."""
    replaces: str
    """The changes to an existing sweep."""
    tables: dict[str, tuple[tuple[str, str], ...]]
    """Verifiers and attacks that can be added, each with its title."""
    abouts: Mapping[str, Mapping[str, str]]
    """Texts of names, by table or key."""

    def about(self, key: str) -> Mapping[str, str]:
        """Texts of the names that a field or table can have."""
        table, _, field = key.partition(".")
        names = field.rpartition(".")[2] in ("", *LISTS.values())
        return self.abouts.get(key) or (self.abouts.get(table, {}) if names else {})

    def put(self, field: Field) -> None:
        """Replace the field with the same key."""
        self.sections = tuple(
            replace(section, fields=tuple(field if old.key == field.key else old for old in section.fields))
            for section in self.sections
        )
