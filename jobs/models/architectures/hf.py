"""Image classifiers of Transformers, from their configuration alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from torch import nn

from jobs.models.library import library_network
from rsctl.catalog.models.hf import NORMALISATION
from rsctl.errors import InputError


def build(
    name: str, classes: int, channels: int, size: int, *, config: str, architecture: str = "", **shared: Any
) -> nn.Module:
    transformers = _transformers()
    values = _values(config)

    def made(outputs: int) -> nn.Module:
        values["num_channels"] = channels
        stated = transformers.AutoConfig.for_model(**{**values, "num_labels": outputs})
        network: nn.Module = transformers.AutoModelForImageClassification.from_config(stated)
        return network

    where = f"model: hf:{architecture or values['model_type']}"
    return library_network(made, where, classes, channels, size, named=True, package="transformers", **shared)


def normalisation(parameters: Mapping[str, Any]) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Mean and standard deviation that the image processor states, of images in [0, 1]."""
    mean, std = (_values(parameters["config"]).get(key) for key in NORMALISATION)
    if not isinstance(mean, list) or not isinstance(std, list):
        return None
    return tuple(map(float, mean)), tuple(map(float, std))


def names_in_files(network: Any) -> dict[str, str]:
    """Names under which Transformers saves the entries of a network → the network's own, where a release has renamed them."""
    try:
        from transformers.core_model_loading import revert_weight_conversion
    except ImportError:  # releases before 5 save the names that networks have
        return {}
    own = network.state_dict()
    names = {id(value): name for name, value in own.items()}
    saved = revert_weight_conversion(network, own)
    return {saved_as: names[id(value)] for saved_as, value in saved.items() if id(value) in names}


def _values(config: str) -> dict[str, Any]:
    try:
        values = json.loads(config)
    except (ValueError, RecursionError) as error:
        raise InputError(f"model.config: isn't JSON ({error}).") from error
    if not isinstance(values, dict) or not isinstance(values.get("model_type"), str):
        raise InputError("model.config: must be a JSON table with the network's model_type.")
    return values


def _transformers() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise InputError(
            "model: transformers isn't installed on this machine: pip install 'rsctl[hf]'."
        ) from error
    return transformers
