"""Values of a point that are valid by themselves, but not together."""

from __future__ import annotations

from collections.abc import Iterator

from rsctl.catalog import known_methods
from rsctl.catalog.checkpoints import CHECKPOINT
from rsctl.catalog.declare import DataShape, Method, Model, ModelTask, Parameters
from rsctl.catalog.library import LibraryParameters
from rsctl.catalog.recipe import Recipe
from rsctl.config.point import Point
from rsctl.config.runs import TrainSpec
from rsctl.config.validate import Problem, module_exists


def conflicts(
    point: Point,
    method: Method | ModelTask,
    model: Model,
    architecture: Parameters,
    hyperparameters: Parameters,
    recipe: Recipe,
    shape: DataShape,
    start: TrainSpec | None,
) -> Iterator[Problem]:
    """Yields a problem for each conflict; `start` is the training whose weights this one begins with."""
    noises = getattr(hyperparameters, "noises", 1)
    if recipe.noise_steps == "smaller" and recipe.batch_size % noises:
        yield Problem(
            "training.batch_size",
            f"{recipe.batch_size} can't be cut into noises = {noises} equal steps. "
            "Give a multiple, or set training.noise_steps = 'one'.",
        )
    if start and recipe.normalisation not in ("dataset", start.recipe.normalisation):
        yield Problem(
            "training.normalisation",
            f"is '{recipe.normalisation}', but the weights that this training starts from have another. "
            "Leave it out here, and set it in method.start.training.",
        )
    if model.package and not module_exists(model.package):
        yield Problem(
            "model.name",
            f"{model.name} needs {model.package}, which isn't installed: pip install 'rsctl[{model.name}]'.",
        )
    if isinstance(architecture, LibraryParameters):
        yield from _outputs(architecture, shape.classes)
    if shape.size < model.smallest:
        yield Problem(
            "model.name",
            f"{model.name} needs images of at least {model.smallest} pixels; {point.dataset['name']} has {shape.size}.",
        )
    if point.exponent > shape.dimension / 2 - 2:
        yield Problem(
            "exponent",
            f"{point.exponent} is too large for images of dimension {shape.dimension}; at most {max(0, shape.dimension // 2 - 2)}.",
        )
    if recipe.exponent_warmup and not point.exponent:
        yield Problem(
            "training.exponent_warmup",
            "needs an exponent: set exponent (1530 for 3x32x32 images in DSRS), or leave it out.",
        )
    steps = getattr(hyperparameters, "steps", 0)  # of an attack: consistency at adversarial images
    splits = isinstance(method, ModelTask) or method.splitting
    if point.noise == "splitting" and point.sigma and (not splits or steps):
        able = [name for name, other in known_methods().items() if other.splitting]
        yield Problem(
            "noise",
            f"'splitting' replaces the image, but {f'{method.name} with steps = {steps}' if splits else method.name} moves images "
            f"or noises separately. Methods that support it: {', '.join([*able, CHECKPOINT.name])}.",
        )


def _outputs(architecture: LibraryParameters, classes: int) -> Iterator[Problem]:
    """Yields a problem where the outputs of a network of a library can't be those of the classes."""
    outputs, number = architecture.outputs, architecture.head or classes
    if outputs and len(outputs) != classes:
        yield Problem(
            "model.outputs",
            f"has {len(outputs)} entries, but the data set has {classes} classes: list one output of each.",
        )
    elif outputs and max(outputs) >= number:
        yield Problem(
            "model.outputs",
            f"{max(outputs)} isn't one of the network's {number} outputs (0 to {number - 1}); model.head sets their number.",
        )
    elif not outputs and number != classes:
        yield Problem(
            "model.head",
            f"is {number}, but the data set has {classes} classes: list the output of each class in model.outputs.",
        )
