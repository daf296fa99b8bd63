"""ADRE-REG (Feng, Wu, Chen, Zhang, Ning 2020, equations 5 to 8): lowers the smoothed probability of the best wrong class.

The regulariser log Ĝ is unbounded below: a network that drives the runner-up to zero would gain without end. It
is therefore cut at log `floor`; the paper doesn't say how it keeps the loss finite.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from jobs.losses import mean_cross_entropy, mean_softmax, noisy_logits
from jobs.state import TrainingState


def loss(model: nn.Module, x: Tensor, y: Tensor, state: TrainingState) -> tuple[Tensor, Tensor]:
    """l_per − λ·(−log Ĝ_c*), c* the best class of Ĝ besides y, with the same k noises in both."""
    p = state.parameters
    return regularised(state, noisy_logits(model, x, state.noises(p["noises"])), y)


def regularised(state: TrainingState, logits: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Equation 6 with estimators (7) and (8), and logits for the accuracy; logits (k, B, classes)."""
    p = state.parameters
    # The paper draws the index of the single noise at random; noises are alike, so the first will do.
    perturbed = mean_cross_entropy(state, logits[:1] if p["single_draw"] else logits, y)
    return perturbed - p["lbd"] * runner_up_loss(mean_softmax(logits), y, p["floor"]).mean(), logits[0]


def runner_up_loss(smoothed: Tensor, y: Tensor, floor: float) -> Tensor:
    """l_CE(Ĝ, c*) = −log max(Ĝ_c*, floor) per image; Ĝ is (B, classes)."""
    own = functional.one_hot(y, smoothed.shape[1]).bool()
    return -smoothed.masked_fill(own, -torch.inf).amax(dim=1).clamp(min=floor).log()
