"""The form of a sweep file, made from the declarations: fields, help, defaults and where they come from.

Imported on a background thread only.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from rsctl.catalog import known_attacks, known_datasets, known_methods, known_models, known_verifiers
from rsctl.catalog.checkpoints import model_sources
from rsctl.catalog.noises import NOISES
from rsctl.catalog.recipe import Recipe
from rsctl.certificates import certificates
from rsctl.config.cascades import CascadeTable
from rsctl.config.point import Point
from rsctl.config.sections import (
    SPECIAL,
    AttackTable,
    Certification,
    ImageTable,
    Precision,
    Resources,
    StageResources,
    Verification,
)
from rsctl.config.settings import Place, load_settings
from rsctl.config.sweep import build_sweep
from rsctl.config.validate import Invalid
from rsctl.errors import UserError
from rsctl.plan.columns import possible_radii
from rsctl.plan.describe import describe
from rsctl.plan.plan import make_plan
from rsctl.store.layout import Store
from rsctl.tui.actions import describe_changes
from rsctl.tui.compose.defaults import EffectiveDefault, InEffect, own
from rsctl.tui.compose.draft import LISTS, ONCE, Draft
from rsctl.tui.compose.fields import Composed, Field, Section
from rsctl.tui.compose.form_text import choices, names_parser, parser, shown, single, whole

FILE = "sweep.toml"
NOISE = ("sigma", "noise", "exponent", "seed")


def compose(draft: Draft) -> Composed:
    """The form for a draft, with each problem at its field, and the plan if there are none."""
    place = load_settings()
    effective = InEffect(draft, place.data)
    checked = _check(draft, place)

    def certification(name: str, info: FieldInfo) -> EffectiveDefault:
        return (checked.radii if name == "radii" else None) or own(info)

    sections = [
        Section("Sweep", tuple(_point_fields(draft, ONCE, place))),
        Section("Data set", tuple(_chosen(draft, "dataset", known_datasets()))),
        Section("Model", tuple(_chosen(draft, "model", known_models()))),
    ]
    for place_, _entry in enumerate(draft.methods):
        title = "Method" if len(draft.methods) == 1 else f"Method {place_ + 1}"
        sections.append(Section(title, tuple(_chosen(draft, f"method.{place_}", known_methods(), effective))))
    sections += [
        Section("Noise and repetition", tuple(_point_fields(draft, NOISE, place))),
        Section("Training", tuple(_recipe_fields(draft, effective))),
        Section("Certification", tuple(_fields(draft, "certification.", Certification, certification))),
        *_image_tables(draft, "verification", Verification, known_verifiers()),
        *_image_tables(draft, "attack", AttackTable, known_attacks()),
        *_cascades(draft),
        Section("Precision", tuple(_fields(draft, "precision.", Precision))),
    ]
    for stage in Resources.model_fields:
        sections.append(
            Section(f"Resources for {stage}", tuple(_fields(draft, f"resources.{stage}.", StageResources)))
        )
    placed = tuple(_with_problems(section, checked.problems) for section in sections)
    known = {field.key for section in sections for field in section.fields}
    leftover = [f"{key}: {text}" for key, text in checked.problems.items() if _own_key(key, known) is None]
    tables = {"verification": _titles(known_verifiers()), "attack": _titles(known_attacks())}
    general = tuple(checked.general + leftover)
    return Composed(draft, placed, general, checked.text, checked.replaces, tables, _abouts())


def _abouts() -> dict[str, dict[str, str]]:
    """Texts of names, by the table or key that takes them."""
    known: dict[str, Iterable[Any]] = {
        "dataset": known_datasets().values(),
        "model": known_models().values(),
        "method": model_sources().values(),
        "verification": known_verifiers().values(),
        "attack": known_attacks().values(),
        "noise": NOISES,
        "certification.certificates": certificates().values(),
    }
    return {key: {one.name: getattr(one, "about", "") for one in found} for key, found in known.items()}


def _titles(known: Mapping[str, Any], order: Iterable[str] = ()) -> tuple[tuple[str, str], ...]:
    """Names to choose from, each with its title; those that few sweeps need come last."""
    special = {name: getattr(one, "special", False) for name, one in known.items()}
    return tuple(
        (name, f"special: {known[name].title}" if special[name] else known[name].title)
        for name in sorted(order or sorted(known), key=special.__getitem__)
    )


@dataclass(frozen=True)
class _Checked:
    """The plan of a draft, or the problems that prevent one."""

    problems: dict[str, str]
    """By key."""
    general: list[str]
    text: str = ""
    replaces: str = ""
    radii: EffectiveDefault | None = None
    """The default columns that are possible."""


def _check(draft: Draft, place: Place) -> _Checked:
    raw, store = draft.plain(), Store(place.store)
    try:
        plan = make_plan(build_sweep(raw, FILE, place.data, store.planned), FILE, store)
        place.settings.profile(plan.sweep.cluster)
        text = describe(plan, place, only_known=True).text
    except Invalid as invalid:
        found: dict[str, str] = {}
        general = []
        for problem in invalid.problems:
            if problem.key:
                found.setdefault(problem.key.removeprefix("grid."), problem.text)
            else:
                general.append(problem.text)
        return _Checked(found, general)
    except UserError as error:
        return _Checked({}, [str(error).removeprefix(f"{FILE}: ")])
    radii = EffectiveDefault(shown(possible_radii(plan.entries)), "limited by sigma, n, alpha")
    return _Checked({}, [], text, describe_changes(store, plan), radii)


def _own_key(key: str, known: Iterable[str]) -> str | None:
    """The form's field that a problem's key refers to."""
    names = set(known)
    if key in names:
        return key
    parts = key.split(".")
    if parts[0] == "method":
        # A sweep's problems don't name their method.
        rest = ".".join(parts[1:])
        return next(
            (name for name in sorted(names) if name.startswith("method.") and name.split(".", 2)[2] == rest),
            None,
        )
    while len(parts) > 1:
        parts.pop()
        if ".".join(parts) in names:
            return ".".join(parts)
    return f"{key}.name" if f"{key}.name" in names else None


def _with_problems(section: Section, problems: Mapping[str, str]) -> Section:
    names = [field.key for field in section.fields]
    at = {own: text for key, text in problems.items() if (own := _own_key(key, names)) is not None}
    return Section(
        section.title, tuple(field.with_problem(at.get(field.key, "")) for field in section.fields)
    )


def _point_fields(draft: Draft, names: Iterable[str], place: Place) -> Iterable[Field]:
    for name in names:
        options: tuple[tuple[str, str], ...] = ()
        if name == "cluster":
            profiles = ["local", *(p for p in place.settings.profiles if p != "local")]
            options = tuple((profile, "") for profile in profiles)
        yield _field(draft, name, name, Point.model_fields[name], options=options)


def _chosen(
    draft: Draft, prefix: str, known: Mapping[str, Any], effective: InEffect | None = None
) -> Iterable[Field]:
    """The name of a data set, model or method, and the parameters of the chosen one."""
    options = _titles(known)
    name, in_grid = draft.get(f"{prefix}.name")
    what = {"dataset": "data set", "model": "model"}.get(prefix, "method")
    declared = known.get(name) if isinstance(name, str) and not in_grid else None
    help_text = f"Name of the {what}." if declared is None else f"{declared.title}. {declared.citation}."
    given = (shown(name), name is not None)
    yield Field(f"{prefix}.name", "name", help_text, *given, "", "", options, names_parser(), grid=in_grid)
    if declared is not None:
        find = None if effective is None else partial(effective.hyperparameter, int(prefix.split(".")[1]))
        yield from _fields(draft, f"{prefix}.", declared.parameters, find)


def _image_tables(
    draft: Draft, key: str, section: type[ImageTable], known: Mapping[str, Any]
) -> Iterable[Section]:
    """A section per verifier or attack: its name, the common fields, and its own parameters."""
    own, entries = LISTS[key], draft.tables(key)
    options = _titles(known)
    for place, entry in enumerate(entries):
        prefix, declared = f"{key}.{place}.", known.get(str(entry.get(own)))
        found = [_field(draft, f"{prefix}{own}", own, section.model_fields[own], options=options)]
        found += [field for field in _fields(draft, prefix, section) if field.label != own]
        if declared is not None:
            found += _fields(draft, prefix, declared.parameters)
        title = key.capitalize() if len(entries) == 1 else f"{key.capitalize()} {place + 1}"
        # These tables have no grid.
        yield Section(title, tuple(replace(field, parse=single(field.parse)) for field in found))


def _cascades(draft: Draft) -> Iterable[Section]:
    """A section per cascade; a list of thresholds is no grid."""
    entries = draft.tables("cascade")
    for place in range(len(entries)):
        title = "Cascade" if len(entries) == 1 else f"Cascade {place + 1}"
        # Where it was tuned is recorded by the file alone, as `rsctl tune` prints it.
        found = [
            field for field in _fields(draft, f"cascade.{place}.", CascadeTable) if field.label != "tuned"
        ]
        yield Section(title, tuple(replace(field, parse=whole(field.parse)) for field in found))


def _recipe_fields(draft: Draft, effective: InEffect) -> Iterable[Field]:
    """The recipe's fields, with the values that methods override in their own tables."""
    for field in _fields(draft, "training.", Recipe, effective.recipe):
        apart = effective.apart(field.label) if field.is_set else ""
        yield replace(field, source=f"except {apart}") if apart else field


def _fields(
    draft: Draft,
    prefix: str,
    model: type[BaseModel],
    default: Callable[[str, FieldInfo], EffectiveDefault] | None = None,
) -> Iterable[Field]:
    for name, info in model.model_fields.items():
        if name == "extras":  # tables of plugins, which the file alone holds
            continue
        options = (
            _titles(certificates(), certificates()) if prefix + name == "certification.certificates" else ()
        )
        yield _field(draft, f"{prefix}{name}", name, info, default and default(name, info), options)


def _field(
    draft: Draft, key: str, label: str, info: FieldInfo, default: EffectiveDefault | None = None,
    options: tuple[tuple[str, str], ...] = (),
) -> Field:  # fmt: skip
    value, in_grid = draft.get(key)
    default = default or own(info)
    many = typing.get_origin(info.annotation) is list
    return Field(
        key,
        label,
        " ".join((info.description or "").split()),
        shown(value),
        value is not None,
        default.text,
        default.source,
        options or tuple((choice, "") for choice in choices(info.annotation)),
        parser(info, many, key in ONCE),
        grid=in_grid,
        many=many,
        several=default.several,
        special=info.json_schema_extra == SPECIAL,
    )
