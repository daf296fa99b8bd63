"""Classifiers of timm."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from torch import nn

from jobs.models.library import library_network
from rsctl.errors import InputError


def build(
    name: str, classes: int, channels: int, size: int, *, architecture: str, **shared: Any
) -> nn.Module:
    timm = _timm()
    if not timm.is_model(architecture.partition(".")[0]):
        near = get_close_matches(architecture, timm.list_models(), n=8, cutoff=0.4)
        raise InputError(
            f"model.architecture: timm {timm.__version__} has no model '{architecture}'. "
            f"Close to it: {', '.join(near) or '(none)'}."
        )

    def made(outputs: int) -> nn.Module:
        network: nn.Module = timm.create_model(
            architecture, pretrained=False, num_classes=outputs, in_chans=channels
        )
        return network

    return library_network(
        made, f"model: timm:{architecture}", classes, channels, size, package="timm", **shared
    )


def normalisation(parameters: Mapping[str, Any]) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Mean and standard deviation of the published weights, of images in [0, 1]."""
    shown = _timm().get_pretrained_cfg(parameters["architecture"])
    return (tuple(shown.mean), tuple(shown.std)) if shown else None


def _timm() -> Any:
    try:
        import timm
    except ImportError as error:
        raise InputError("model: timm isn't installed on this machine: pip install 'rsctl[timm]'.") from error
    return timm
