"""A classifier behind a denoiser, as one network."""

from __future__ import annotations

import importlib
import json
from typing import Any

from torch import Tensor, nn

from jobs.models.denoisers import DnCNN, MemNet
from jobs.models.normalize import Normalize, normalisation_of, untouched
from rsctl.catalog import find, known_models
from rsctl.catalog.shape import parameters_of
from rsctl.config.identity import completed
from rsctl.errors import InputError


class Denoised(nn.Module):
    """Images in [0, 1], with noise, (B, C, H, W) → logits of a frozen classifier on the denoised images, (B, classes).

    The classifier's normalisation lies between the two, and in the state dict. Its batch normalisation never sees statistics
    of a batch: it stays in eval mode.
    """

    def __init__(self, denoiser: nn.Module, classifier: nn.Module, channels: int) -> None:
        super().__init__()
        self.denoiser = denoiser
        self.normalise = Normalize(*untouched(channels), stored=True)
        self.classifier = classifier.requires_grad_(False).eval()

    def forward(self, x: Tensor) -> Tensor:
        return self.classify(self.denoiser(x))

    def classify(self, images: Tensor) -> Tensor:
        """Logits of the classifier alone, for images in [0, 1]."""
        logits: Tensor = self.classifier(self.normalise(images))
        return logits

    def train(self, mode: bool = True) -> Denoised:
        super().train(mode)
        self.classifier.eval()
        return self

    def adopt(self, trained: nn.Sequential) -> None:
        """Take over weights, statistics and normalisation of a base classifier with this classifier's architecture."""
        self.normalise.load_state_dict(dict(normalisation_of(trained).named_buffers()))
        self.classifier.load_state_dict(trained[1].state_dict())


def build(
    name: str, classes: int, channels: int, size: int,
    *, denoiser: str, width: int, depth: int, memories: int, residuals: int, classifier: str,
) -> Denoised:  # fmt: skip
    """`classifier` is a JSON table of the classifier's name and parameters; raises InputError where it isn't."""
    behind = _classifier(classifier, classes, channels, size)
    before = (
        DnCNN(channels, depth, width) if denoiser == "dncnn" else MemNet(channels, memories, residuals, width)
    )
    return Denoised(before, behind, channels)


def _classifier(table: str, classes: int, channels: int, size: int) -> nn.Module:
    try:
        values: Any = json.loads(table or "null")
    except (ValueError, RecursionError) as error:
        raise InputError(f"model.classifier: isn't JSON ({error}).") from error
    if not isinstance(values, dict) or not isinstance(values.get("name"), str):
        raise InputError(
            "model.classifier: must be a JSON table with the name and the parameters of the classifier's architecture, such as "
            '{"name": "resnet20"}; a training gets it from method.teacher.'
        )
    declaration = find("model", values.pop("name"), known_models())
    parameters = parameters_of("model.classifier", declaration, completed(declaration.parameters, values))
    network: nn.Module = importlib.import_module(declaration.module).build(
        declaration.name, classes, channels, size, **parameters.model_dump()
    )
    return network
