"""Classifiers of torchvision."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from jobs.models.library import library_network
from rsctl.errors import InputError, unknown


def build(
    name: str, classes: int, channels: int, size: int, *, architecture: str, **shared: Any
) -> nn.Module:
    from torchvision import models

    known = models.list_models(module=models)
    if architecture not in known:
        raise InputError(f"model.architecture: {unknown('classifier of torchvision', architecture, known)}")

    def made(outputs: int) -> nn.Module:
        # Both have a second head for training alone.
        more = (
            {"aux_logits": False, "init_weights": False}
            if architecture in ("googlenet", "inception_v3")
            else {}
        )
        network: nn.Module = models.get_model(architecture, weights=None, num_classes=outputs, **more)
        return network

    return library_network(
        made, f"model: torchvision:{architecture}", classes, channels, size, package="torchvision", **shared
    )


def normalisation(parameters: Mapping[str, Any]) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Mean and standard deviation of the published weights, of images in [0, 1]."""
    from torchvision import models

    weights = list(models.get_model_weights(parameters["architecture"]))
    if not weights:
        return None
    shown = weights[-1].transforms()
    return tuple(shown.mean), tuple(shown.std)
