"""Denoised smoothing (Salman et al. 2020, section 3.2): trains the denoiser before a frozen classifier.

As the authors' code has it: `mse` is the mean over all pixels; the targets of `stability` are the classes that the classifier
gives to the clean images, not its probabilities.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from jobs.models.architectures.denoised import Denoised
from jobs.precision import at_least_float32
from jobs.state import TrainingState


def prepare(model: nn.Sequential, state: TrainingState) -> Iterator[None]:
    """The classifier's weights, which a checkpoint of the run contains."""
    if state.step == 0:
        classifier = state.load("teacher")
        assert isinstance(classifier, nn.Sequential)
        denoised(model).adopt(classifier)
    yield from ()


def loss(model: nn.Sequential, x: Tensor, y: Tensor, state: TrainingState) -> tuple[Tensor, Tensor]:
    """‖D(x + δ) − x‖² per pixel, or CE(f(D(x + δ)), argmax f(x)); y is only the training accuracy's."""
    network = denoised(model)
    images = network.denoiser(x + state.noise())
    if state.parameters["objective"] == "mse":
        with torch.no_grad():
            logits = network.classify(images)
        return (at_least_float32(images) - x).square().mean(), logits
    with torch.no_grad():
        target = network.classify(x).argmax(dim=1)
    logits = network.classify(images)
    return state.cross_entropy(logits, target), logits


def denoised(model: nn.Sequential) -> Denoised:
    """The network of a base classifier with a denoiser."""
    network = model[1]
    assert isinstance(network, Denoised)
    return network
