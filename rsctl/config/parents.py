"""Models that must exist before another one, and the network that a model contains: from the tables of a point."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from rsctl.catalog import known_methods, model_table
from rsctl.catalog.checkpoints import CHECKPOINT
from rsctl.catalog.declare import Method, Model, ModelTask, Parameters
from rsctl.config.point import Point
from rsctl.config.runs import TrainSpec
from rsctl.config.validate import Problem, check

ROLES = ("start", "teacher")
ModelTable = dict[str, Any]


class Levels(Parameters):
    """Noise level and seed of a parent model, where they differ from the run's."""

    sigma: Annotated[float, Field(ge=0, le=100)] | None = None
    """Its training noise; 0 is training on clean images."""
    seed: Annotated[int, Field(ge=0)] | None = None
    """Its seed."""


def with_own_model(point: Point) -> Point:
    """The point with the model of its method's own table, if that has one."""
    if "model" not in point.method:
        return point
    method = {**point.method}
    return point.model_copy(update={"model": _table(method.pop("model")), "method": method})


def wrong_model(method: Method | ModelTask, model: Model, values: Mapping[str, Any]) -> Problem | None:
    """The problem of a method that doesn't train this model."""
    if isinstance(method, ModelTask):
        able = _trainers(model)
        if able and not values.get("classifier"):
            return Problem(
                "model.classifier",
                'is required with a checkpoint: a JSON table of the classifier\'s architecture, such as \'{"name": "resnet20"}\'.',
            )
        return None
    if method.model and model.name != method.model:
        return Problem(
            "model.name",
            f"'{method.name}' trains '{method.model}' only: set model = \"{method.model}\", in the method's table or in the file, and "
            f"the classifier's architecture in method.teacher.model ('{model.name}').",
        )
    if not method.model and (able := _trainers(model)):
        return Problem(
            "model.name",
            f"only {', '.join(map(repr, able))} trains '{model.name}': set method to that, or the model to a classifier's architecture.",
        )
    return None


def _trainers(model: Model) -> list[str]:
    """The methods that a model is reserved for."""
    return [one.name for one in known_methods().values() if one.model == model.name]


def parent_point(
    point: Point, shared: ModelTable, method: Method, role: str, table: Any, problems: list[Problem]
) -> Point | None:
    """The point of the model that another starts from or learns from; on failure add the problems and return None.

    `shared` is the model of the whole sweep file.
    """
    if isinstance(table, str):
        table = {"name": table}
    elif isinstance(table, Mapping) and "checkpoint" in table:
        table = {"name": CHECKPOINT.name, "file": table["checkpoint"], **table}
        del table["checkpoint"]
    if not isinstance(table, Mapping):
        problems.append(Problem(f"method.{role}", f"give a method's name or table; it is {table!r}."))
        return None
    table = {**table}
    model = _table(table.pop("model", shared if method.model and role == "teacher" else point.model))
    levels = check(
        Levels,
        {key: table.pop(key) for key in Levels.model_fields if key in table},
        f"method.{role}",
        problems,
    )
    if levels is None:
        return None
    if role == "teacher" and method.model and model_table(model).get("name") == method.model:
        problems.append(
            Problem(
                "method.teacher.model",
                f"must be a classifier's architecture, such as \"resnet20\", not '{method.model}'; left out it is the model of the file.",
            )
        )
        return None
    changes = {
        "method": table,
        "model": model,
        "sigma": point.sigma if levels.sigma is None else levels.sigma,
        "seed": point.seed if levels.seed is None else levels.seed,
    }
    return point.model_copy(update=changes)


def _table(model: Any) -> ModelTable:
    return dict(model) if isinstance(model, Mapping) else {"name": model}


def required_teacher(method: Method) -> Problem:
    """The problem of a method whose model contains its teacher's network, without a teacher."""
    return Problem(
        "method.teacher",
        f"is required: the classifier that '{method.name}' trains a denoiser for, such as "
        'teacher = { name = "gaussian", sigma = 0.0, model = "resnet20" } or { checkpoint = "file", model = "resnet20" }.',
    )


def start_before_teacher(
    table: Any, method: Method, model: ModelTable, teacher: Point, behind: TrainSpec
) -> Any:
    """The table of `start`, with the run's teacher where it has none, or with the teacher's architecture where it is a checkpoint."""
    table = {"name": table} if isinstance(table, str) else table
    if not isinstance(table, Mapping):
        return table
    if table.get("name") == method.name and "teacher" not in table:
        learned = {**teacher.method, "model": teacher.model, "sigma": teacher.sigma, "seed": teacher.seed}
        return {**table, "teacher": learned}
    if "checkpoint" in table or table.get("name") == CHECKPOINT.name:
        return {"model": {"classifier": classifier_of(behind), **model_table(model)}, **table}
    return table


def classifier_of(teacher: TrainSpec) -> str:
    """The architecture of a teacher's network, as `model.classifier` of the network around it has it."""
    return json.dumps(
        {"name": teacher.model, **teacher.model_parameters}, sort_keys=True, separators=(",", ":")
    )


def around(values: dict[str, Any], teacher: TrainSpec, problems: list[Problem]) -> dict[str, Any]:
    """The parameters of a model that contains its teacher's network; a classifier in them that isn't that one is a problem."""
    behind = classifier_of(teacher)
    if values.get("classifier") not in (None, "", behind):
        problems.append(
            Problem("model.classifier", f"is determined by method.teacher, as {behind}: leave it out.")
        )
    return {**values, "classifier": behind}
