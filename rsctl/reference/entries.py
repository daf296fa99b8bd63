"""Everything that `rsctl explain` knows by name: declarations, noises and the keys of a sweep file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from functools import cache
from inspect import cleandoc
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from rsctl.catalog import (
    known_attacks,
    known_datasets,
    known_extras,
    known_methods,
    known_models,
    known_verifiers,
    plugins,
)
from rsctl.catalog.checkpoints import model_sources
from rsctl.catalog.declare import Attack, Extra, Method, Verifier
from rsctl.catalog.noises import NOISES
from rsctl.catalog.recipe import Recipe
from rsctl.certificates import Certificate, certificates
from rsctl.certificates.cascade import Cascade
from rsctl.certificates.norms import InNorm
from rsctl.config.cascades import CascadeTable
from rsctl.config.point import Point
from rsctl.config.sections import (
    AttackTable,
    Certification,
    Precision,
    Resources,
    StageResources,
    Verification,
)
from rsctl.errors import InputError
from rsctl.reference.entry import Parameter, ReferenceEntry, StatedDefault
from rsctl.reference.examples import JOINT, STRUCTURE, example_of, example_of_key, put
from rsctl.reference.schema import fields
from rsctl.text import counted

KINDS = {
    "method": "Training methods",
    "certificate": "Certificates",
    JOINT: "Certificates of several runs",
    "verifier": "Verifiers",
    "attack": "Attacks",
    "model": "Models",
    "data set": "Data sets",
    "noise": "Noise",
    "key": "Keys of a sweep file",
}
"""Kinds of entries, with their headings."""
NORMS = {"l1": "ℓ1", "l2": "ℓ2", "linf": "ℓ∞"}
TABLES: dict[str, type[BaseModel]] = {
    "training": Recipe,
    "certification": Certification,
    "verification": Verification,
    "attack": AttackTable,
    "cascade": CascadeTable,
    "precision": Precision,
    **{f"resources.{stage}": StageResources for stage in Resources.model_fields},
}
"""Tables of a sweep file; its other keys are those of `Point`."""


def entries() -> tuple[ReferenceEntry, ...]:
    """Every entry, kind by kind."""
    return _entries(plugins())


@cache
def _entries(plugins: tuple[str, ...]) -> tuple[ReferenceEntry, ...]:
    methods = model_sources()
    return (
        *(_declared("method", one) for _, one in sorted(methods.items())),
        *(_certificate(one) for one in certificates().values()),
        _declared(JOINT, Cascade),
        *(_declared("verifier", one) for one in known_verifiers().values()),
        *(_declared("attack", one) for one in known_attacks().values()),
        *(_declared("model", one) for one in known_models().values()),
        *(_declared("data set", one) for one in known_datasets().values()),
        *(_declared("noise", one) for one in NOISES),
        *_keys(known_methods().values()),
        *_parameter_keys("dataset", "data set", known_datasets()),
        *_parameter_keys("model", "model", known_models()),
        *_parameter_keys("method", "method", methods),
        *(_measurement(one) for one in known_extras().values()),
    )


def find(name: str) -> list[ReferenceEntry]:
    """The entries of this name; of a key the end will do where it is the only one. Raises InputError with the nearest names."""
    wanted = name.lower()
    found = [one for one in entries() if one.name == wanted]
    found = found or [one for one in entries() if one.kind == "key" and one.name.endswith(f".{wanted}")]
    if found:
        return found
    names = sorted({one.name for one in entries()})
    near = get_close_matches(wanted, names, n=5, cutoff=0.5) or [one for one in names if wanted in one][:5]
    hint = f" Nearest: {', '.join(near)}." if near else ""
    raise InputError(f"nothing is called '{name}'.{hint} 'rsctl explain' lists every name.")


def _parameters(model: type[BaseModel]) -> tuple[Parameter, ...]:
    return tuple(
        Parameter(name, {**schema, "required": model.model_fields[name].is_required()})
        for name, schema in fields(model).items()
    )


def _declared(kind: str, one: Any) -> ReferenceEntry:
    return ReferenceEntry(
        kind,
        one.name,
        one.title,
        one.about,
        one.use_when,
        _guarantees(one),
        one.citation,
        _parameters(one.parameters) if hasattr(one, "parameters") else (),
        tuple(_defaults(one)) if isinstance(one, Method) else (),
        example_of(kind, one),
        special=getattr(one, "special", False),
    )


def _guarantees(one: Any) -> str:
    if isinstance(one, Verifier):
        ends = "Incomplete: what it can't prove may still be true."
        if one.complete:
            ends = "Complete: given the time it settles every radius, by a proof or a counterexample."
        return (
            f"Deterministic, of the network itself: it gives the predicted class to every image with pixels in [0, 1] within the radius, in {_in_norms(one.norms)}; "
            f"{one.rounding}. {ends}"
        )
    if isinstance(one, Attack):
        return (
            f"Of each image that it finds (in {_in_norms(one.norms)}): the classifier gives it another class; with target = "
            '"smoothed" this is confirmed by fresh draws, wrongly with probability alpha at most. An image that it doesn\'t find may exist.'
        )
    return str(getattr(one, "guarantees", ""))


def _in_norms(norms: Sequence[str]) -> str:
    return ", ".join(NORMS.get(norm, norm) for norm in norms)


def _certificate(one: Certificate) -> ReferenceEntry:
    kind, classifier = one.guarantee.kind, one.guarantee.classifier
    keeps = "the true label stays among them" if one.k > 1 else "its class is the certified one"
    within = f"{keeps} at every image within the radius in {NORMS.get(one.norm, one.norm)}"
    times = "" if one.guarantee.times_alpha == 1 else f"{one.guarantee.times_alpha:g}·"
    said = {
        "probabilistic": f"Probabilistic, of {classifier}: with probability at least 1 − {times}alpha over the noise draws, for each image "
        f"by itself, {within}.",
        "deterministic": f"Deterministic, of {classifier}: {within}.",
    }.get(kind, f"Nothing of {classifier}: the radii are a heuristic.")
    remark = f" Note: {one.guarantee.remark}." if one.guarantee.remark else ""
    return ReferenceEntry(
        "certificate",
        one.name,
        one.title,
        getattr(one, "about", ""),
        getattr(one, "use_when", ""),
        said + remark,
        one.citation,
        example=example_of("certificate", one),
        variant=isinstance(one, InNorm),
        special=getattr(one, "special", False),
    )


def _defaults(method: Method) -> Iterator[StatedDefault]:
    for one in method.defaults:
        everywhere = "any data set"
        if method.printed_for and "epochs" in one.values:
            everywhere = ", ".join(method.printed_for)
        place = one.dataset or everywhere
        yield StatedDefault(
            place + (f", sigma = {one.sigma:g}" if one.sigma is not None else ""), one.values, one.source
        )


def _keys(methods: Iterable[Method]) -> Iterator[ReferenceEntry]:
    """Keys of the top of the file, those of its tables, and those that no field declares."""
    for name in Point.model_fields:
        if name not in TABLES and name != "resources":
            yield _key(Point, name)
    for prefix, model in TABLES.items():
        for name in model.model_fields:
            sourced = [
                replace(one, where=f"{method.name}, {one.where}", values={name: one.values[name]})
                for method in methods
                for one in _defaults(method)
                if model is Recipe and name in one.values
            ]
            yield _key(model, name, f"{prefix}.", sourced)
    for name, text in STRUCTURE.items():
        table = TABLES.get("resources.training" if name == "resources" else name)
        parameters = _parameters(table) if table else ()
        yield ReferenceEntry(
            "key", name, first_sentence(text), text, parameters=parameters, example=example_of_key(name, None)
        )


def _key(
    model: type[BaseModel], name: str, prefix: str = "", sourced: Sequence[StatedDefault] = ()
) -> ReferenceEntry:
    schema = fields(model)[name]
    if name in ("dataset", "model", "method"):
        schema = {**schema, "anyOf": [{"type": "string"}, {"type": "object"}]}
    about = schema.get("description", "")
    return ReferenceEntry(
        "key",
        f"{prefix}{name}",
        first_sentence(about),
        about,
        defaults=tuple(sourced),
        example=example_of_key(f"{prefix}{name}", model.model_fields[name]),
        schema={**schema, "required": model.model_fields[name].is_required()},
        variant=prefix.startswith("resources.") and prefix != "resources.training.",
        special=model.model_fields[name].json_schema_extra == {"special": True},
    )


def _parameter_keys(table: str, kind: str, among: Mapping[str, Any]) -> Iterator[ReferenceEntry]:
    """Keys that only some data sets, models or methods have."""
    owners: dict[str, list[Any]] = {}
    for one in among.values():
        for name in fields(one.parameters):
            owners.setdefault(name, []).append(one)
    for name, having in owners.items():
        default = having[0].parameters.model_fields[name].get_default()
        example = example_of(kind, having[0])
        if default is not PydanticUndefined and name not in example[table]:
            example = put(example, {f"{table}.{name}": default})
        yield ReferenceEntry(
            "key",
            f"{table}.{name}",
            f"Parameter of {counted(len(having), kind)}",
            f"A parameter of {', '.join(one.name for one in having)}.",
            parameters=tuple(Parameter(one.name, fields(one.parameters)[name]) for one in having),
            example=example,
            variant=True,
        )


def _measurement(extra: Extra) -> ReferenceEntry:
    """The table of a plugin's measurement."""
    key = f"certification.extras.{extra.name}"
    return ReferenceEntry(
        "key",
        key,
        "Measurement of a plugin",
        cleandoc(extra.parameters.__doc__ or ""),
        parameters=_parameters(extra.parameters),
        example=put(example_of_key("certification", None), {key: {}}),
    )


def first_sentence(text: str) -> str:
    """A text's first sentence, without its full stop."""
    return text.partition(". ")[0].rstrip(".")
