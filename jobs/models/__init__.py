"""Base classifiers: an architecture behind the normalisation of its data set."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from jobs.models.normalize import Normalize, Values, of_dataset, untouched
from rsctl.catalog import find, known_models
from rsctl.catalog.declare import DataSet, DataShape
from rsctl.catalog.shape import parameters_of
from rsctl.errors import InputError

__all__ = ["Normalize", "build_model"]


def build_model(
    name: str,
    parameters: Mapping[str, Any],
    *,
    dataset: DataSet,
    shape: DataShape,
    normalisation: Values | None = None,
) -> nn.Sequential:
    """The base classifier f, `(Normalize, architecture)`: images (B, channels, size, size) in [0, 1] → logits (B, classes).

    Noise is added in [0, 1] space, *before* the model; subtracting the mean and dividing by the standard deviation (the data
    set's, or `normalisation`; nothing for networks that normalise inside) is the model's own first layer, so that σ and radii are in units of [0, 1] pixels (Cohen 2019).
    State-dict keys of the architecture begin with ``1.``, as in published checkpoints; normalisation adds none. Weights are
    drawn from torch's default generator. Raises InputError for an unknown architecture or parameter, and for images that it
    can't take.
    """
    declaration = find("model", name, known_models())
    checked = parameters_of("model", declaration, parameters)
    if shape.size < declaration.smallest:
        raise InputError(
            f"model: {name} takes images of at least {declaration.smallest}x{declaration.smallest} pixels; "
            f"those of {dataset.name} have {shape.size}x{shape.size}. Choose another model."
        )
    mean, std = normalisation or of_dataset(dataset, shape.channels)
    if declaration.pixels:
        mean, std = untouched(shape.channels)
    if not len(mean) == len(std) == shape.channels:
        raise InputError(
            f"The data set {dataset.name} declares {len(mean)} means and {len(std)} standard deviations "
            f"for {shape.channels} channels."
        )
    build = importlib.import_module(declaration.module).build
    # A method may build networks in the middle of its lowered arithmetic; first weights are drawn in full.
    with torch.autocast("cpu", enabled=False):
        network = build(name, shape.classes, shape.channels, shape.size, **checked.model_dump())
    return nn.Sequential(Normalize(mean, std), network)
