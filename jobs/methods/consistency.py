"""Consistency regularisation (Jeong, Shin 2020, equations 6 and 7).

The prediction under each of m noises is pulled towards their mean F̄; the mean isn't detached, so it moves too.
With `steps` > 0 the images are SmoothAdv's adversarial ones (the paper's "SmoothAdv + Consistency"), found and
trained on with the same noises.
"""

from __future__ import annotations

from torch import Tensor, nn

from jobs.adversary import evaluating, gradient, pgd, smoothed_loss
from jobs.losses import entropy, kl, mean_cross_entropy, mean_softmax, noisy_logits
from jobs.methods.smoothadv import warmed_up
from jobs.state import TrainingState


def loss(model: nn.Module, x: Tensor, y: Tensor, state: TrainingState) -> tuple[Tensor, Tensor]:
    """Mean CE(F(x + δ_i), y) + λ·mean KL(F̄ ‖ F(x + δ_i)) + η·H(F̄)."""
    p = state.parameters
    noise = state.noises(p["noises"])
    if p["steps"]:
        objective, radius = smoothed_loss(model, noise, y), warmed_up(p["epsilon"], p["warmup"], state.epoch)
        with evaluating(model):
            x = pgd(x, lambda at: gradient(objective, at), radius, p["steps"], last_cut=p["last_cut"])
    logits = noisy_logits(model, x, noise)
    mean = mean_softmax(logits)
    regular = p["lbd"] * kl(mean, logits).mean(0) + p["eta"] * entropy(mean)
    return mean_cross_entropy(state, logits, y) + regular.mean(), logits[0]
