"""Training recipe for data sets without a published one: fitted to the network, the number of images, and the sweep file.

Recipes of papers are for 50,000 images or more, and for networks with batch normalisation. Of a few hundred images they make
a few hundred steps, and at their rates a network without normalisation dies.

Measured by `tests/science/test_recipes_of_small_sets.py` (σ = 0.25, 16x16 pixels; accuracy in per cent, in brackets that of the
best of three tuned recipes of as many steps, chosen on the images that judge):

| folder | cnn | mlp | lenet | resnet20 | wideresnet |
|---|---|---|---|---|---|
| three shapes, 100 images each | 100.0 (99.9) | 99.9 (99.9) | 99.9 (100.0) | 100.0 (100.0) | 100.0 (100.0) |
| two shapes, 180 and 20 | 98.9 (99.0) | 95.7 (96.7) | 99.8 (99.6) | 100.0 (99.9) | 99.9 (99.9) |
| ten textures, 100 each | 100.0 (100.0) | 100.0 (100.0) | 100.0 (100.0) | 100.0 (100.0) | 100.0 (100.0) |
| CIFAR-10 photographs, 100 each | 34.6 (33.1) | 31.7 (32.6) | 33.4 (32.9) | 33.3 (32.9) | 33.9 (35.6) |
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from rsctl.catalog.declare import Method, Model
from rsctl.catalog.recipe import Recipe

Sourced = dict[str, tuple[Any, str]]
"""Field → value and its source."""

SOURCE = "this project: fitted to the network and the number of images"
SHARE = "at the same share of the epochs"
OF_COHEN = ("cifar10", "cifar100", "imagenet")
"""Data sets for which a method without its own recipe uses Cohen's."""

STEPS = 2000
"""Least optimiser steps of a training, where `LONGEST` allows them."""
SHORTEST, LONGEST = 60, 300
"""Epochs."""
SMALLEST_BATCH, LARGEST_BATCH = 16, 256
RATED_BATCH = 64
"""Batch size of the learning rates that models declare; a smaller batch has a proportional rate."""
ADAM_RATE = 1e-3
WEIGHT_DECAY = 5e-4
CLIP = 5.0
"""Largest norm of a gradient."""
WARMUP = 0.2
"""Share of the epochs before the learning rate's peak."""
COUNTED_IN_EPOCHS = ("warmup", "lbd_from_epoch", "doubling_epoch", "beta_epoch", "radius_epochs", "p_epochs", "epsilon_start", "epsilon_epochs")  # fmt: skip
"""Hyper-parameters that count epochs."""


def published(method: Method, dataset: str, sigma: float) -> bool:
    """Return whether a published recipe of this method is for this data set."""
    entries = [
        entry for entry in method.defaults if "epochs" in entry.values and entry.sigma in (None, sigma)
    ]
    if any(entry.dataset == dataset for entry in entries):
        return True
    if method.printed_for:
        return dataset in method.printed_for
    if any(entry.dataset is None for entry in entries):
        return True
    brings_its_own = any(key in Recipe.model_fields for entry in method.defaults for key in entry.values)
    return dataset in OF_COHEN and not brings_its_own


def defaults(
    method: Method, model: Model, dataset: str, sigma: float, given: Mapping[str, Any], images: int, size: int
) -> Sourced:
    """A method's hyper-parameters and its recipe here, before the user's own values.

    The others are fitted to the recipe values of the sweep file (`given`), to the number of `images` of the whole training
    split, whatever is held out of it, and to the `size` of an image's side in pixels.
    """
    found = method.sourced_defaults(dataset, sigma)
    if published(method, dataset, sigma):
        return found
    recipe = _recipe(model.rate, given, images, size, found)
    # Epochs of another recipe are scaled to the length of this one.
    share = recipe["epochs"] / found.get("epochs", (Recipe().epochs, ""))[0]
    fields = method.parameters.model_fields
    scaled = {}
    for name in COUNTED_IN_EPOCHS:
        value, source = found.get(name, (fields[name].get_default(), "") if name in fields else (None, ""))
        if isinstance(value, float):
            scaled[name] = (round(value * share, 2), f"{source}, {SHARE}" if source else SHARE)
        elif isinstance(value, int):
            scaled[name] = (max(1, round(value * share)), f"{source}, {SHARE}" if source else SHARE)
    return {**found, **scaled, **{key: (value, SOURCE) for key, value in recipe.items()}}


def known_defaults(method: Method, dataset: str, sigma: float) -> Sourced:
    """The defaults known before the images are counted; `fitted` marks values that depend on their number."""
    found = method.sourced_defaults(dataset, sigma)
    if not dataset or published(method, dataset, sigma):
        return found
    late = [name for name in COUNTED_IN_EPOCHS if name in method.parameters.model_fields]
    recipe = _recipe(1.0, {}, 1, 1, found)
    return {**found, **dict.fromkeys((*recipe, *late), ("fitted", SOURCE))}


def _recipe(rate: float, given: Mapping[str, Any], images: int, size: int, own: Sourced) -> dict[str, Any]:
    """`rate` is the model's; the rest as for `defaults`."""
    epochs, batch = _length(given, images)
    optimizer = given.get(
        "optimizer", "sgd" if given.get("nesterov") else own.get("optimizer", ("sgd", ""))[0]
    )
    sgd = optimizer == "sgd"
    peak = rate * min(batch / RATED_BATCH, 1.0) if sgd else ADAM_RATE
    return {
        "epochs": epochs,
        "batch_size": batch,
        "optimizer": optimizer,
        "lr": float(f"{peak:.2g}"),
        "momentum": 0.9,
        "weight_decay": WEIGHT_DECAY if sgd else 0.0,
        "schedule": "onecycle",
        "milestones": [],
        **({"step_epochs": math.ceil(epochs / 3)} if given.get("schedule") == "step" else {}),
        "cycle_epochs": 0,
        "warmup_epochs": round(WARMUP * epochs, 1),
        "noise_steps": "one",
        "gradient_clip": CLIP,
        "mirror": False,
        "crop_padding": min(size // 8, 4),
    }


def _length(given: Mapping[str, Any], images: int) -> tuple[int, int]:
    """Epochs and batch: `STEPS` steps, by small batches first and then by more epochs."""
    epochs, batch = _count(given, "epochs"), _count(given, "batch_size")
    if not batch:
        # A twentieth of the images, or less where the file's epochs would make too few steps of it.
        wanted = min(images / 20, images * epochs / STEPS) if epochs else images / 20
        batch = min(max(2 ** round(math.log2(max(wanted, 1))), SMALLEST_BATCH), LARGEST_BATCH)
    if not epochs:
        epochs = min(max(math.ceil(STEPS / max(math.ceil(images / batch), 1)), SHORTEST), LONGEST)
    return epochs, batch


def _count(given: Mapping[str, Any], key: str) -> int:
    """A number from the sweep file, or 0 for an invalid one, which the recipe's own check reports."""
    value = given.get(key)
    return value if isinstance(value, int) and value > 0 else 0
