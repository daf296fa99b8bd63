"""A point → the specs of its model and of its counts, with every default filled in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rsctl.catalog import find, known_datasets, known_methods, known_models
from rsctl.catalog.declare import DataShape, Parameters
from rsctl.catalog.recipe import Recipe
from rsctl.catalog.shape import shape_of
from rsctl.errors import InputError
from rsctl.spec.identity import identity
from rsctl.spec.runs import CountSpec, TrainSpec
from rsctl.spec.sections import Point
from rsctl.spec.validate import Problem, check


@dataclass(frozen=True)
class Resolved:
    """One point of a sweep, ready to plan."""

    point: Point
    train: TrainSpec
    count: CountSpec
    dataset_parameters: dict[str, Any]
    """With the fields that say where the files are."""
    shape: DataShape


def resolve(point: Point, data_root: Path, problems: list[Problem]) -> Resolved | None:
    """Validate the open tables against the catalog; on failure add the problems and return None."""
    dataset, data_values = _choose("dataset", "data set", point.dataset, known_datasets(), problems)
    model, model_values = _choose("model", "model", point.model, known_models(), problems)
    method, method_values = _choose("method", "method", point.method, known_methods(), problems)
    if dataset is None or model is None or method is None:
        return None
    own_training = method_values.pop("training", {})
    data = check(dataset.parameters, data_values, "dataset", problems)
    architecture = check(model.parameters, model_values, "model", problems)
    defaults = method.default_values(dataset.name, point.sigma)
    hyperparameters = check(
        method.parameters, {**_of(defaults, method.parameters), **method_values}, "method", problems
    )
    if not isinstance(own_training, dict):
        problems.append(Problem("method.training", "must be a table of recipe values."))
        own_training = {}
    recipe = check(Recipe, {**_of(defaults, Recipe), **point.training, **own_training}, "training", problems)
    if data is None or architecture is None or hyperparameters is None or recipe is None:
        return None
    shape = shape_of(dataset.name, data, data_root)
    if shape.size < model.smallest:
        problems.append(
            Problem(
                "model.name",
                f"{model.name} needs images of at least {model.smallest} pixels; {dataset.name} has {shape.size}.",
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
        data=shape.fingerprint,
        holdout=holdout,
        model=model.name,
        model_parameters=identity(architecture),
        sigma=point.sigma,
        seed=point.seed,
        precision=point.precision.training,
    )
    count = CountSpec(
        model_hash=train.hash,
        model_run=train.run_id,
        dataset=train.dataset,
        dataset_parameters=train.dataset_parameters,
        data=train.data,
        split=settings.split,
        holdout=holdout,
        sigma=settings.sigma or point.sigma,
        seed=settings.seed,
        n0=settings.n0,
        n=settings.n,
        precision=point.precision.certification,
        tile=settings.tile,
        block=settings.block,
    )
    return Resolved(point, train, count, data.model_dump(), shape)


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
