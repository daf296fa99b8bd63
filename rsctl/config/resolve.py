"""A point → the specs of its model and of its tables, with every default filled in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rsctl.catalog import find, known_datasets, known_models, model_table
from rsctl.catalog.checkpoints import CHECKPOINT, identified, model_sources
from rsctl.catalog.declare import DataShape, Method, Model, ModelTask, Parameters
from rsctl.catalog.fitted import Sourced, defaults
from rsctl.catalog.predictions import PREDICTIONS
from rsctl.catalog.recipe import Recipe
from rsctl.catalog.shape import shape_of
from rsctl.config.conflicts import conflicts
from rsctl.config.identity import identity
from rsctl.config.parents import (
    ROLES,
    ModelTable,
    around,
    parent_point,
    required_teacher,
    start_before_teacher,
    with_own_model,
    wrong_model,
)
from rsctl.config.point import Point
from rsctl.config.run_spec import Origin
from rsctl.config.runs import CountSpec, TrainSpec
from rsctl.config.tables import PointTable, resolve_tables
from rsctl.config.validate import Problem, check, module_exists
from rsctl.errors import InputError, unknown


@dataclass(frozen=True)
class Resolved:
    """One point of a sweep, ready to plan."""

    point: Point
    train: TrainSpec
    tables: tuple[PointTable, ...]
    """Tables of the model, the counts first."""
    dataset_parameters: dict[str, Any]
    """Parameters with those that locate files."""
    shape: DataShape
    parents: tuple[TrainSpec, ...] = ()
    """Models that must be trained before this one, the first first."""
    stated: frozenset[str] = frozenset()
    """Checkpoints, of this model and its parents, whose normalisation the sweep file gives; for others it is found from images."""
    sources: dict[str, dict[str, str]] = field(default_factory=dict)
    """Run of a model → field of its recipe → source of the value; a recipe's own defaults are omitted."""

    @property
    def count(self) -> CountSpec | None:
        """The counts under noise; None where nothing is sampled."""
        return next((table.spec for table in self.tables if isinstance(table.spec, CountSpec)), None)


FILE = "this file"
"""Source of a value that the sweep file gives."""

Planned = Callable[[str, str], bool]
"""True if runs were planned with this data set (name, fingerprint of both splits)."""


def resolve(
    point: Point, data_root: Path, problems: list[Problem], planned: Planned = lambda dataset, files: False
) -> Resolved | None:
    """Validate the open tables against the catalog; on failure add the problems and return None.

    A model depends on its training files alone. Runs that older versions planned with the files of both splits keep their
    names, as `planned` reports.
    """
    shared, point = point.model, with_own_model(point)
    dataset, data_values = _choose("dataset", "data set", point.dataset, known_datasets(), problems)
    model, model_values = _choose("model", "model", model_table(point.model), known_models(), problems)
    method, values = _choose("method", "method", point.method, model_sources(), problems)
    if dataset is None or model is None or method is None:
        return None
    if problem := wrong_model(method, model, model_values):
        problems.append(problem)
        return None
    imported, own_training = method is CHECKPOINT, _own_training(values, problems)
    if imported:
        values = identified(values)
    if model.complete:
        model_values = model.complete(model_values)
    parents = {} if imported else _parents(point, shared, method, values, data_root, problems, planned)
    if parents is None:
        return None
    if not imported and method.model:
        model_values = around(model_values, parents["teacher"].train, problems)
    data = check(dataset.parameters, data_values, "dataset", problems)
    architecture = check(model.parameters, model_values, "model", problems)
    if not imported:
        _check_declaration(method, method.default_values(dataset.name, point.sigma), problems)
    shape, missing = _shape(dataset.name, data, data_root)
    given = {} if imported else {**point.training, **own_training}
    sourced = {} if imported else _defaults(method, model, dataset.name, point.sigma, given, shape)
    values = {**_values(sourced, method.parameters), **values}
    hyperparameters = check(method.parameters, values, "method", problems)
    recipe = check(Recipe, {**_values(sourced, Recipe), **given}, "training", problems)
    if data is None or architecture is None or hyperparameters is None or recipe is None:
        return None
    if shape is None:
        raise missing or InputError(f"the data set '{dataset.name}' can't be read.")
    start = parents["start"].train if "start" in parents else None
    if problem := next(
        conflicts(point, method, model, architecture, hyperparameters, recipe, shape, start), None
    ):
        problems.append(problem)
        return None
    if start and start.model_parameters != identity(architecture):
        problems.append(_another_start(point))
        return None
    if start:
        # One training, one identity, whichever of the two tables gives it.
        recipe = recipe.model_copy(update={"normalisation": start.recipe.normalisation})
    train = _train_spec(
        point, method, model, data, architecture, hyperparameters, recipe, shape, planned, parents, values
    )
    needs = [spec for parent in parents.values() for spec in (*parent.parents, parent.train)]
    if not imported and method.predictions and train.teacher is not None:
        draws = train.hyperparameters[method.predictions]
        needs.append(_predictions(train, parents["teacher"].train, draws))
        train = train.model_copy(update={"predictions": needs[-1].run_id})
    tables = resolve_tables(point, train, shape, problems)
    if tables is None:
        return None
    unique = tuple({spec.run_id: spec for spec in needs}.values())
    own = {key: source for key, (_, source) in sourced.items() if key in Recipe.model_fields}
    sources = {train.run_id: {**own, **dict.fromkeys(given, FILE)}}
    stated = {train.run_id} if imported and "normalisation" in values else set()
    found = Resolved(
        point, train, tuple(tables), data.model_dump(), shape, unique, frozenset(stated), sources
    )
    return _with_those_of(parents.values(), found)


def _train_spec(
    point: Point, method: Method | ModelTask, model: Model, data: Parameters, architecture: Parameters, hyperparameters: Parameters,
    recipe: Recipe, shape: DataShape, planned: Planned, parents: Mapping[str, Resolved], values: Mapping[str, Any],
) -> TrainSpec:  # fmt: skip
    imported = method is CHECKPOINT
    return TrainSpec(
        method=method.name,
        revision=method.revision,
        hyperparameters=identity(hyperparameters),
        recipe=recipe,
        dataset=point.dataset["name"],
        dataset_parameters=identity(data),
        data=shape.fingerprint if planned(point.dataset["name"], shape.fingerprint) else shape.files("train"),
        holdout=point.certification.val_share if point.certification.split == "val" else 0.0,
        model=model.name,
        model_parameters=identity(architecture),
        sigma=point.sigma,
        # A checkpoint has no training settings: the same file is the same model.
        seed=0 if imported else point.seed,
        precision="fp32" if imported else point.precision.training,
        file=values["file"] if imported else "",
        exponent=point.exponent,
        noise=point.noise if point.sigma else "gaussian",
        **{role: Origin(hash=parent.train.hash, run=parent.train.run_id) for role, parent in parents.items()},
    )


def _with_those_of(parents: Iterable[Resolved], found: Resolved) -> Resolved:
    """The same with the stated checkpoints and the sources of its parents."""
    for parent in parents:
        found = replace(
            found, stated=found.stated | parent.stated, sources={**found.sources, **parent.sources}
        )
    return found


def _own_training(values: dict[str, Any], problems: list[Problem]) -> dict[str, Any]:
    """Recipe values of the method's own table; taken out of `values`."""
    own = values.pop("training", {})
    if isinstance(own, dict):
        return own
    problems.append(Problem("method.training", "must be a table of recipe values."))
    return {}


def _shape(
    dataset: str, parameters: Parameters | None, data_root: Path
) -> tuple[DataShape | None, InputError | None]:
    """The data set's shape, or the error, which is reported if nothing else is wrong."""
    try:
        return (shape_of(dataset, parameters, data_root) if parameters else None), None
    except InputError as error:
        return None, error


def _defaults(
    method: Method, model: Model, dataset: str, sigma: float, given: dict[str, Any], shape: DataShape | None
) -> Sourced:
    if shape is None:
        return method.sourced_defaults(dataset, sigma)
    return defaults(method, model, dataset, sigma, given, shape.counts["train"], shape.size)


def _predictions(pupil: TrainSpec, teacher: TrainSpec, draws: int) -> TrainSpec:
    """The run of the teacher's predictions that this student needs, with all that they depend on and nothing else."""
    own = ("dataset", "dataset_parameters", "data", "seed", "precision", "exponent", "noise", "teacher")
    return TrainSpec(
        method=PREDICTIONS.name,
        revision=PREDICTIONS.revision,
        hyperparameters={"draws": draws},
        recipe=Recipe(),
        **{name: getattr(pupil, name) for name in own},
        **{name: getattr(teacher, name) for name in ("model", "model_parameters", "sigma")},
    )


def _parents(
    point: Point, shared: ModelTable, method: Method, values: dict[str, Any], data_root: Path, problems: list[Problem], planned: Planned
) -> dict[str, Resolved] | None:  # fmt: skip
    """The models that this one starts from or learns from, resolved like points of their own; taken out of `values`."""
    tables = {role: values.pop(role, method.parents.get(role)) for role in ROLES}
    found: dict[str, Resolved] = {}
    for role in reversed(ROLES):
        if tables[role] is None:
            continue
        if teacher := found.get("teacher") if method.model else None:
            tables[role] = start_before_teacher(
                tables[role], method, point.model, teacher.point, teacher.train
            )
        of_parent = parent_point(point, shared, method, role, tables[role], problems)
        if of_parent is None:
            return None
        own: list[Problem] = []
        parent = resolve(of_parent, data_root, own, planned)
        # Keys of the parent's tables are reported as the user wrote them: method.teacher.epsilon, not method.epsilon.
        problems += [Problem(f"method.{role}.{p.key.removeprefix('method.')}", p.text) for p in own]
        if parent is None:
            return None
        if role == "start" and of_parent.model != point.model and not method.model:
            problems.append(_another_start(point))
            return None
        found[role] = parent
    if method.model and "teacher" not in found:
        problems.append(required_teacher(method))
        return None
    return {role: found[role] for role in ROLES if role in found}


def _another_start(point: Point) -> Problem:
    text = f"must be the run's model, {point.model['name']}, which takes over its weights."
    return Problem("method.start.model", text)


def _check_declaration(method: Method, defaults: dict[str, Any], problems: list[Problem]) -> None:
    """Check a plugin's declaration: its loss module and the fields of its defaults must exist."""
    allowed = {*method.parameters.model_fields, *Recipe.model_fields}
    wrong = [f"a default for the {unknown('field', key, allowed)}" for key in sorted(set(defaults) - allowed)]
    if method.implementation and not module_exists(method.implementation):
        wrong.append(
            f"its loss in '{method.implementation}', which doesn't exist. Fix the plugin's declaration."
        )
    problems += [Problem("method", f"'{method.name}' declares {text}") for text in wrong]


def _choose(
    key: str, what: str, table: dict[str, Any], among: dict[str, Any], problems: list[Problem]
) -> tuple[Any, dict[str, Any]]:
    values = dict(table)
    name = values.pop("name", None)
    if not isinstance(name, str):
        problems.append(Problem(f"{key}.name", f"is required: one of {', '.join(sorted(among))}."))
        return None, values
    try:
        return find(what, name, among), values
    except InputError as error:
        problems.append(Problem(f"{key}.name", str(error)))
        return None, values


def _values(sourced: Sourced, model: type[Parameters]) -> dict[str, Any]:
    return {key: value for key, (value, _) in sourced.items() if key in model.model_fields}
