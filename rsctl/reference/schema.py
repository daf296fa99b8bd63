"""The JSON Schema of sweep files, from the same declarations that validate them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from pydantic import BaseModel

from rsctl.catalog import known_attacks, known_datasets, known_models, known_verifiers
from rsctl.catalog.checkpoints import model_sources
from rsctl.catalog.declare import Attack, DataSet, Method, Model, ModelTask, Verifier
from rsctl.catalog.recipe import Recipe
from rsctl.certificates import certificates
from rsctl.config.cascades import CascadeLevel, CascadeOrigin, CascadeTable
from rsctl.config.parents import ROLES, Levels
from rsctl.config.point import Point
from rsctl.config.sections import (
    AttackTable,
    Certification,
    ImageTable,
    Precision,
    Resources,
    StageResources,
    Verification,
)
from rsctl.config.sweep import LEVELS, ONE_PER_SWEEP

Schema = dict[str, Any]
DIALECT = "https://json-schema.org/draft/2020-12/schema"
OURS = ("title", "identity", "neutral", "special")
"""Keywords that pydantic adds, or that a declaration has for `rsctl.config.identity`."""
NULL = {"type": "null"}


def sweep_schema() -> Schema:
    """The JSON Schema (draft 2020-12) of a sweep file, with the names and parameters of the plugins in use."""
    top = fields(Point)
    recipe = _table(fields(Recipe), top["training"])
    known = fields(Certification)
    certificates_ = {**known["certificates"], "items": _names(certificates())}
    stages = {stage: _table(fields(StageResources), info) for stage, info in fields(Resources).items()}
    properties = {
        **top,
        "dataset": _with_parameters("dataset", known_datasets()),
        "model": _ref("model"),
        "method": _one_or_more("method", top["method"]),
        "training": recipe,
        "certification": _table({**known, "certificates": certificates_}, top["certification"]),
        "verification": _one_or_more("verification", top["verification"]),
        "attack": _one_or_more("attack", top["attack"]),
        "cascade": _one_or_more(
            "cascade", {"description": "Several runs as one classifier: one table for each cascade."}
        ),
        "precision": _table(fields(Precision), top["precision"]),
        "resources": _table(stages, top["resources"]),
    }
    gridded = {name: one for name, one in properties.items() if name not in (*ONE_PER_SWEEP, "cascade")}
    gridded |= {
        "dataset": _table(_together("dataset", known_datasets())),
        "model": _table(_together("model", known_models())),
        "method": _table({**_together("method", model_sources()), "training": recipe}),
    }
    grid = _grid(gridded, "Lists of values for any key: every combination is a run.")
    return {
        "$schema": DIALECT,
        "title": "rsctl sweep file",
        **_table({**properties, "training": _ref("training"), "grid": grid}),
        "required": ["name"],
        "$defs": {
            "training": recipe,
            "training-lists": _table(_lists(recipe["properties"])),
            "model": _with_parameters("model", known_models()),
            "model-lists": _table(_lists(_together("model", known_models()))),
            "method": _method_entry(),
            "verification": _image_tables(Verification, "verifier", known_verifiers()),
            "attack": _image_tables(AttackTable, "attack", known_attacks()),
            "cascade": _cascade(),
        },
    }


@cache
def fields(model: type[BaseModel]) -> dict[str, Schema]:
    """Schemas of a model's fields, as a TOML file gives them: there is no null."""
    return {name: _plain(one) for name, one in model.model_json_schema().get("properties", {}).items()}


def _plain(schema: Schema) -> Schema:
    kept = {key: value for key, value in schema.items() if key not in OURS}
    if kept.get("default", 0) is None:
        del kept["default"]
    if "description" in kept:
        kept["description"] = " ".join(kept["description"].split())
    if NULL in kept.get("anyOf", ()):
        (kept["anyOf"],) = [[one for one in kept["anyOf"] if one != NULL]]
        if len(kept["anyOf"]) == 1:
            kept |= kept.pop("anyOf")[0]
    return {key: _plain(value) if key == "items" else value for key, value in kept.items()}


def _table(properties: Mapping[str, Schema], info: Mapping[str, Any] | None = None) -> Schema:
    described = {"description": info["description"]} if info and "description" in info else {}
    return {**described, "type": "object", "properties": dict(properties), "additionalProperties": False}


def _name(declared: Any) -> Schema:
    about = " ".join(filter(None, (f"{declared.title}.", getattr(declared, "about", ""))))
    return {"const": declared.name, "description": about}


def _names(among: Mapping[str, Any], description: str = "") -> Schema:
    """One of these names, each with its text."""
    return {"description": description, "type": "string", "oneOf": [_name(one) for one in among.values()]}


def _named(among: Mapping[str, Any], tables: Iterable[Schema], unnamed: Mapping[str, Schema]) -> Schema:
    """A name, or a table of a name and the parameters of what has it; without a name the grid has some."""
    every = [*tables, {"not": {"required": ["name"]}, **_table(unnamed)}]
    return {"anyOf": [_names(among), {"type": "object", "oneOf": every}]}


def _with_parameters(key: str, among: Mapping[str, DataSet] | Mapping[str, Model]) -> Schema:
    tables = (_with_name(one, fields(one.parameters)) for one in among.values())
    named = _named(among, tables, _together(key, among, named=False))
    return {"description": fields(Point)[key]["description"], **named}


def _with_name(declared: Any, properties: Mapping[str, Schema], key: str = "name") -> Schema:
    return {**_table({key: _name(declared), **properties}), "required": [key], "title": declared.name}


def _together(key: str, among: Mapping[str, Any], *, named: bool = True) -> dict[str, Schema]:
    """The parameters of all of them, for tables that leave open which is meant."""
    found: dict[str, list[Schema]] = {"name": [_names(among, f"Its name ({key}).")]} if named else {}
    for declared in among.values():
        for name, one in fields(declared.parameters).items():
            if one not in found.setdefault(name, []):
                found[name].append(one)
    return {name: ones[0] if len(ones) == 1 else {"anyOf": ones} for name, ones in found.items()}


def _method_entry() -> Schema:
    """One method: its name, or its table, whose grid may give the name."""
    sources = model_sources()
    unnamed = {
        **_together("method", sources, named=False),
        **{key: {} for key in ("model", *ROLES)},
        "training": _ref("training"),
        "grid": _method_grid(_together("method", sources)),
    }
    return _named(sources, map(_method, sources.values()), unnamed)


def _method(method: Method | ModelTask) -> Schema:
    parameters = fields(method.parameters)
    parent = {"anyOf": [{"type": "string"}, {"type": "object", "properties": fields(Levels)}]}
    own = {
        "model": {**_ref("model"), "description": fields(Point)["model"]["description"]},
        "training": _ref("training", "Recipe values of this method alone."),
        "start": {"description": "The model whose weights the training begins with.", **parent},
        "teacher": {"description": "The model that the method learns from.", **parent},
        "grid": _method_grid(parameters),
    }
    return _with_name(method, {**parameters, **own})


def _method_grid(parameters: Mapping[str, Schema]) -> Schema:
    tables = {"": fields(Point), "certification": fields(Certification)}
    levels: dict[str, Schema] = {}
    for table, _, key in (level.rpartition(".") for level in LEVELS):
        levels |= {table: _table({key: tables[table][key]})} if table else {key: tables[""][key]}
    grid = _grid(
        {**parameters, **levels}, f"Lists of values for this method; {', '.join(LEVELS)} replace the sweep's."
    )
    model = {"model": _table(_together("model", known_models()))}
    dotted = _dotted({"training": _table(fields(Recipe)), **model})
    grid["properties"] = {
        **grid["properties"],
        "training": _ref("training-lists"),
        "model": _ref("model-lists"),
        **dotted,
    }
    return grid


def _image_tables(
    section: type[ImageTable], key: str, among: Mapping[str, Verifier] | Mapping[str, Attack]
) -> Schema:
    tables = []
    for declared in among.values():
        common = fields(section)
        common = {**common, "norm": {**common["norm"], "enum": list(declared.norms)}}
        del common[key]
        # A table that leaves its norm out has the section's, which the declaration must know.
        norm = [] if common["norm"]["default"] in declared.norms else ["norm"]
        table = _with_name(declared, {**common, **fields(declared.parameters)}, key)
        tables.append({**table, "required": [key, *norm]})
    return {"type": "object", "oneOf": tables}


def _one_or_more(name: str, info: Mapping[str, Any]) -> Schema:
    """A table, or a list of them."""
    one = _ref(name)
    several = {"type": "array", "items": one, "minItems": 1}
    return {"description": info["description"], "anyOf": [one, several]}


def _cascade() -> Schema:
    """One cascade: its levels, each a σ, the id of a run or a table, and tau."""
    table = _table(fields(CascadeLevel), {"description": "A run by its sweep, method, σ and seed."})
    level = {"anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "string"}, table]}
    tau = {"type": "number", "minimum": 0.5, "exclusiveMaximum": 1}
    own = fields(CascadeTable)
    properties = {
        "levels": {**own["levels"], "items": level, "minItems": 2},
        "tau": {"description": own["tau"]["description"], "anyOf": [tau, {"type": "array", "items": tau}]},
        "tuned": _table(fields(CascadeOrigin), {"description": own["tuned"]["description"]}),
        "order": own["order"],
        "settled_radius": own["settled_radius"],
    }
    return {**_table(properties), "required": ["levels", "tau"]}


def _ref(name: str, description: str = "") -> Schema:
    return {**({"description": description} if description else {}), "$ref": f"#/$defs/{name}"}


def _grid(properties: Mapping[str, Schema], description: str) -> Schema:
    """A table of lists, nested as the tables are or with dotted keys."""
    return {"description": description, **_table({**_lists(properties), **_dotted(properties)})}


def _lists(properties: Mapping[str, Schema]) -> dict[str, Schema]:
    return {
        name: _table(_lists(one["properties"]), one)
        if "properties" in one
        else {"type": "array", "items": one, "minItems": 1}
        for name, one in properties.items()
    }


def _dotted(properties: Mapping[str, Schema], prefix: str = "") -> dict[str, Schema]:
    found: dict[str, Schema] = {}
    for name, one in properties.items():
        if "properties" in one:
            found |= _dotted(one["properties"], f"{prefix}{name}.")
        elif prefix:
            found[f"{prefix}{name}"] = {"type": "array", "minItems": 1}
    return found
