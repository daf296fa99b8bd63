"""A point → the specs of its model and of its tables, with every default filled in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from rsctl.catalog import find, known_datasets, known_methods, known_models
from rsctl.catalog.checkpoints import CHECKPOINT, identified
from rsctl.catalog.declare import DataShape, Method, Parameters
from rsctl.catalog.fitted import defaults
from rsctl.catalog.predictions import PREDICTIONS
from rsctl.catalog.recipe import Recipe
from rsctl.catalog.shape import shape_of
from rsctl.config.identity import identity
from rsctl.config.point import Point
from rsctl.config.runs import CountSpec, Origin, TrainSpec
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


ROLES = ("start", "teacher")
FILE = "this file"
"""Source of a value that the sweep file gives."""
ADDS_TO_THE_IMAGE = ("gaussian", "stability", "consistency", CHECKPOINT.name)
"""Methods that add noise to the clean image only, and therefore support noise that depends on the image."""


class Levels(Parameters):
    """Noise level and seed of a parent model, where they differ from the run's."""

    sigma: Annotated[float, Field(ge=0, le=100)] | None = None
    """Its training noise; 0 is training on clean images."""
    seed: Annotated[int, Field(ge=0)] | None = None
    """Its seed."""


Planned = Callable[[str, str], bool]
"""True if runs were planned with this data set (name, fingerprint of both splits)."""


def resolve(
    point: Point, data_root: Path, problems: list[Problem], planned: Planned = lambda dataset, files: False
) -> Resolved | None:
    """Validate the open tables against the catalog; on failure add the problems and return None.

    A model depends on its training files alone. Runs that older versions planned with the files of both splits keep their
    names, as `planned` reports.
    """
    dataset, data_values = _choose("dataset", "data set", point.dataset, known_datasets(), problems)
    model, model_values = _choose("model", "model", point.model, known_models(), problems)
    methods = {**known_methods(), CHECKPOINT.name: CHECKPOINT}
    method, method_values = _choose("method", "method", point.method, methods, problems)
    if dataset is None or model is None or method is None:
        return None
    own_training = method_values.pop("training", {})
    taken = method is CHECKPOINT
    if taken:
        method_values = identified(method_values)
    parents = _parents(point, method, method_values, data_root, problems, planned)
    if parents is None:
        return None
    data = check(dataset.parameters, data_values, "dataset", problems)
    architecture = check(model.parameters, model_values, "model", problems)
    if not isinstance(own_training, dict):
        problems.append(Problem("method.training", "must be a table of recipe values."))
        own_training = {}
    _check_declaration(method, method.default_values(dataset.name, point.sigma), problems)
    shape, missing = None, None
    if data is not None:
        try:
            shape = shape_of(dataset.name, data, data_root)
        except InputError as error:
            missing = error  # reported if nothing else is wrong
    given = {} if taken else {**point.training, **own_training}
    sourced = (
        defaults(method, model, dataset.name, point.sigma, given, shape.counts["train"], shape.size)
        if shape
        else method.sourced_defaults(dataset.name, point.sigma)
    )
    own = {key: value for key, (value, _) in sourced.items()}
    hyperparameters = check(
        method.parameters, {**_of(own, method.parameters), **method_values}, "method", problems
    )
    recipe = check(Recipe, {} if taken else {**_of(own, Recipe), **given}, "training", problems)
    if data is None or architecture is None or hyperparameters is None or recipe is None:
        return None
    if shape is None:
        raise missing or InputError(f"the data set '{dataset.name}' can't be read.")
    noises = getattr(hyperparameters, "noises", 1)
    if recipe.noise_steps == "smaller" and recipe.batch_size % noises:
        problems.append(
            Problem(
                "training.batch_size",
                f"{recipe.batch_size} can't be cut into noises = {noises} equal steps. "
                "Give a multiple, or set training.noise_steps = 'one'.",
            )
        )
        return None
    start = parents.get("start")
    if start and recipe.normalisation not in ("dataset", start.train.recipe.normalisation):
        problems.append(
            Problem(
                "training.normalisation",
                f"is '{recipe.normalisation}', but the weights that this training starts from have another. "
                "Leave it out here, and set it in method.start.training.",
            )
        )
        return None
    if start:
        # One training, one identity, whichever of the two tables gives it.
        recipe = recipe.model_copy(update={"normalisation": start.train.recipe.normalisation})
    if shape.size < model.smallest:
        problems.append(
            Problem(
                "model.name",
                f"{model.name} needs images of at least {model.smallest} pixels; {dataset.name} has {shape.size}.",
            )
        )
        return None
    if problem := _exponent_problem(point, recipe, shape):
        problems.append(problem)
        return None
    steps = getattr(hyperparameters, "steps", 0)  # of an attack: consistency at adversarial images
    if point.noise == "splitting" and point.sigma and (method.name not in ADDS_TO_THE_IMAGE or steps):
        moves = f"{method.name} with steps = {steps}" if method.name in ADDS_TO_THE_IMAGE else method.name
        problems.append(
            Problem(
                "noise",
                f"'splitting' replaces the image, but {moves} moves images or noises separately. "
                f"Methods that support it: {', '.join(ADDS_TO_THE_IMAGE)}.",
            )
        )
        return None
    settings = point.certification
    holdout = settings.val_share if settings.split == "val" else 0.0
    train = TrainSpec(
        method=method.name,
        revision=method.revision,
        hyperparameters=identity(hyperparameters),
        recipe=recipe,
        dataset=dataset.name,
        dataset_parameters=identity(data),
        data=shape.fingerprint if planned(dataset.name, shape.fingerprint) else shape.files("train"),
        holdout=holdout,
        model=model.name,
        model_parameters=identity(architecture),
        sigma=point.sigma,
        # A checkpoint has no training settings: the same file is the same model.
        seed=0 if taken else point.seed,
        precision="fp32" if taken else point.precision.training,
        file=getattr(hyperparameters, "file", "") if taken else "",
        exponent=point.exponent,
        noise=point.noise if point.sigma else "gaussian",
        **{role: Origin(hash=parent.train.hash, run=parent.train.run_id) for role, parent in parents.items()},
    )
    predictions = None
    if method.predictions and train.teacher is not None:
        predictions = _predictions(train, parents["teacher"].train, train.hyperparameters[method.predictions])
        train = train.model_copy(update={"predictions": predictions.run_id})
    tables = resolve_tables(point, train, shape, problems)
    if tables is None:
        return None
    own_sources = {key: source for key, (_, source) in sourced.items() if key in Recipe.model_fields}
    own_sources |= dict.fromkeys(given, FILE)
    ancestors = [spec for parent in parents.values() for spec in (*parent.parents, parent.train)]
    ancestors += [predictions] if predictions else []
    stated = frozenset([train.run_id] if taken and "normalisation" in method_values else [])
    return Resolved(
        point,
        train,
        tuple(tables),
        data.model_dump(),
        shape,
        tuple({spec.run_id: spec for spec in ancestors}.values()),
        stated.union(*(parent.stated for parent in parents.values())),
        {run: told for parent in parents.values() for run, told in parent.sources.items()}
        | {train.run_id: own_sources},
    )


def _exponent_problem(point: Point, recipe: Recipe, shape: DataShape) -> Problem | None:
    """The first problem with the exponent of generalised Gaussian noise."""
    if point.exponent > shape.dimension / 2 - 2:
        return Problem(
            "exponent",
            f"{point.exponent} is too large for images of dimension {shape.dimension}; at most {max(0, shape.dimension // 2 - 2)}.",
        )
    if recipe.exponent_warmup and not point.exponent:
        return Problem(
            "training.exponent_warmup",
            "needs an exponent: set exponent (1530 for 3x32x32 images in DSRS), or leave it out.",
        )
    return None


def _predictions(pupil: TrainSpec, teacher: TrainSpec, draws: int) -> TrainSpec:
    """The run of the teacher's predictions that this student needs, with all that they depend on and nothing else."""
    return TrainSpec(
        method=PREDICTIONS.name,
        revision=PREDICTIONS.revision,
        hyperparameters={"draws": draws},
        recipe=Recipe(),
        dataset=pupil.dataset,
        dataset_parameters=pupil.dataset_parameters,
        data=pupil.data,
        model=teacher.model,
        model_parameters=teacher.model_parameters,
        sigma=teacher.sigma,
        seed=pupil.seed,
        precision=pupil.precision,
        exponent=pupil.exponent,
        noise=pupil.noise,
        teacher=pupil.teacher,
    )


def _parents(
    point: Point,
    method: Method,
    values: dict[str, Any],
    data_root: Path,
    problems: list[Problem],
    planned: Planned,
) -> dict[str, Resolved] | None:
    """The models that this one starts from or learns from, resolved like points of their own; taken out of `values`."""
    found: dict[str, Resolved] = {}
    for role in ROLES:
        table = values.pop(role, method.parents.get(role))
        if table is None:
            continue
        if isinstance(table, str):
            table = {"name": table}
        elif isinstance(table, Mapping) and "checkpoint" in table:
            table = {"name": CHECKPOINT.name, "file": table["checkpoint"], **table}
            del table["checkpoint"]
        if not isinstance(table, Mapping):
            problems.append(Problem(f"method.{role}", f"give a method's name or table; it is {table!r}."))
            return None
        table = {**table}
        model = table.pop("model", point.model)
        levels = check(
            Levels,
            {key: table.pop(key) for key in Levels.model_fields if key in table},
            f"method.{role}",
            problems,
        )
        if levels is None:
            return None
        changes = {
            "method": table,
            "model": {"name": model} if isinstance(model, str) else model,
            "sigma": point.sigma if levels.sigma is None else levels.sigma,
            "seed": point.seed if levels.seed is None else levels.seed,
        }
        own: list[Problem] = []
        parent = resolve(point.model_copy(update=changes), data_root, own, planned)
        # Keys of the parent's tables are reported as the user wrote them: method.teacher.epsilon, not method.epsilon.
        problems += [Problem(f"method.{role}.{p.key.removeprefix('method.')}", p.text) for p in own]
        if parent is None:
            return None
        if role == "start" and changes["model"] != point.model:
            problems.append(
                Problem(
                    "method.start.model",
                    f"must be the run's model, {point.model['name']}, which takes over its weights.",
                )
            )
            return None
        found[role] = parent
    return found


def _check_declaration(method: Method, defaults: dict[str, Any], problems: list[Problem]) -> None:
    """Check a plugin's declaration: its loss module and the fields of its defaults must exist."""
    allowed = {*method.parameters.model_fields, *Recipe.model_fields}
    for key in sorted(set(defaults) - allowed):
        problems.append(
            Problem("method", f"'{method.name}' declares a default for the {unknown('field', key, allowed)}")
        )
    if method.implementation and not module_exists(method.implementation):
        problems.append(
            Problem(
                "method",
                f"'{method.name}' declares its loss in '{method.implementation}', which doesn't exist. Fix the plugin's declaration.",
            )
        )


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


def _of(values: dict[str, Any], model: type[Parameters]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key in model.model_fields}
