"""Does a published checkpoint classify, and does it with the normalisation that was assumed?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from jobs.data import Images
from jobs.models.normalize import normalisation_values
from jobs.models.published import Weights
from jobs.models.recognise import assemble
from jobs.noise import smoothing_noise
from jobs.random import generator
from rsctl.catalog.declare import DataSet, DataShape
from rsctl.catalog.published import NORMALISATIONS
from rsctl.errors import InputError, RefusedError


def candidates(dataset: DataSet, shape: DataShape, chosen: str) -> list[str]:
    """The normalisations worth trying, `chosen` first: those with this many channels, none twice."""
    found = {normalisation_values(chosen, dataset, shape): chosen}
    for name in NORMALISATIONS:
        try:
            found.setdefault(normalisation_values(name, dataset, shape), name)
        except InputError:
            continue  # of another number of channels
    return list(found.values())


@dataclass(frozen=True)
class Accuracy:
    """Share of images that the base classifier gets right."""

    images: int
    clean: float
    noisy: float
    """Under one noise each; the same without noise."""

    @property
    def best(self) -> float:
        """A network trained on noisy images may do badly on clean ones, and the other way round."""
        return max(self.clean, self.noisy)

    def __str__(self) -> str:
        under = "" if self.noisy == self.clean else f" ({self.noisy:.1%} under noise)"
        return f"{self.clean:.1%} of {self.images} clean images{under}"


@torch.no_grad()
def accuracy(model: nn.Module, images: Images, sigma: float, device: torch.device) -> Accuracy:
    """On all of these images."""
    model = model.to(device).eval()
    right = [0, 0]
    for first in range(0, len(images), 100):
        pixels, labels = images.batch(torch.arange(first, min(first + 100, len(images))), device)
        clean = pixels.float() / 255
        noise = smoothing_noise(tuple(clean.shape), sigma, 0, generator(device, "accuracy", first))
        for kind, x in enumerate((clean, clean + noise) if sigma else (clean,)):
            right[kind] += int((model(x).argmax(dim=1) == labels).sum())
    return Accuracy(len(images), right[0] / len(images), right[bool(sigma)] / len(images))


def least(classes: int) -> float:
    """What a classifier must reach, on clean or on noisy images: a fifth of the way from chance to perfect."""
    return 1 / classes + 0.2 * (1 - 1 / classes)


def judge(
    weights: Weights,
    model: str,
    parameters: Mapping[str, Any],
    normalisation: str,
    dataset: DataSet,
    images: Images,
    sigma: float,
    device: torch.device,
    *,
    anyway: bool = False,
) -> tuple[nn.Sequential, dict[str, Accuracy]]:
    """The model, and its accuracy with each normalisation.

    Raises RefusedError, unless `anyway`, where it classifies next to nothing, or clearly worse (by three standard errors)
    than with another normalisation or than the file itself says.
    """
    shape = images.shape
    built = {
        name: assemble(weights, model, parameters, name, dataset, shape)
        for name in candidates(dataset, shape, normalisation)
    }
    found = {name: accuracy(network, images, sigma, device) for name, network in built.items()}
    chosen = found[normalisation]
    other = max(found, key=lambda name: found[name].best)
    margin = 3 * (0.25 / chosen.images) ** 0.5
    text = f"with the normalisation '{normalisation}' this {model} classifies {chosen} correctly"
    if not anyway and found[other].best > chosen.best + margin and found[other].best >= least(shape.classes):
        raise RefusedError(
            f"{text}; with '{other}' {found[other]}. Say normalisation '{other}', or go on with this one anyway (--anyway)."
        )
    if not anyway and chosen.best < least(shape.classes):
        raise RefusedError(
            f"{text}, at least {least(shape.classes):.0%} on one of them are asked for; the other normalisations do no better. "
            "It may be another data set, another order of classes or another architecture; --anyway goes on all the same."
        )
    if not anyway and weights.claim is not None and weights.claim[1] > chosen.best + margin:
        raise RefusedError(
            f"{text}; the file says {weights.claim[0]} = {weights.claim[1]:.1%}, and no other normalisation comes nearer. "
            "It may be another data set or lossy copies of its images, another activation or stride than the weights tell, or an "
            "accuracy of something else; "
            "--anyway goes on all the same."
        )
    return built[normalisation], found
