"""Consistency regularisation (Jeong, Shin 2020, equations 6 and 7).

The prediction under each of m noises is pulled towards their mean F̄; the mean isn't detached, so it moves too.
"""

from __future__ import annotations

from torch import Tensor, nn

from jobs.losses import entropy, kl, mean_cross_entropy, mean_softmax, noisy_logits
from jobs.state import TrainingState


def loss(model: nn.Module, x: Tensor, y: Tensor, state: TrainingState) -> tuple[Tensor, Tensor]:
    """Mean CE(F(x + δ_i), y) + λ·mean KL(F̄ ‖ F(x + δ_i)) + η·H(F̄)."""
    p = state.parameters
    logits = noisy_logits(model, x, state.noises(p["noises"]))
    mean = mean_softmax(logits)
    regular = p["lbd"] * kl(mean, logits).mean(0) + p["eta"] * entropy(mean)
    return mean_cross_entropy(state, logits, y) + regular.mean(), logits[0]
