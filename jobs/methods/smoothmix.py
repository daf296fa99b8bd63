"""SmoothMix (Jeong, Park, Kim, Lee, Kim, Shin 2021, section 3): mixes images with adversarial ones of the smoothed classifier.

As the authors' code: the attack takes steps of fixed length without a ball; the mixed target blends the smoothed
prediction with the uniform distribution; targets are not detached. With `one_step`, training itself starts from
the first attack step, whose length grows over the warm-up as the weight does.
"""

from __future__ import annotations

from torch import Tensor, nn

from jobs.adversary import evaluating, gradient, smoothed_loss
from jobs.losses import kl, mean_cross_entropy, mean_softmax, noisy_logits, unit, within
from jobs.state import TrainingState


def loss(model: nn.Module, x: Tensor, y: Tensor, state: TrainingState) -> tuple[Tensor, Tensor]:
    """Mean CE(F(x₀ + δ_i), y) + η·w·mean 1[F̄ is right]·KL(t ‖ F(x_mix + δ_i)).

    t = (1 − λ)F̄ + λ/C and x_mix = (1 − λ)x₀ + λ·x_adv with λ ~ U(0, ½) per image; w grows to 1 over the warm-up.
    """
    p = state.parameters
    noise = state.noises(p["noises"])
    with evaluating(model):
        first, last = trajectory(model, x, y, noise, p["alpha"], p["steps"])
    warm = min(1.0, (int(state.epoch) + 1) / p["warmup"])
    start = (x + within(first - x, warm * p["alpha"])) if p["one_step"] else x
    logits = noisy_logits(model, start, noise)
    mean = mean_softmax(logits)
    share = state.uniform("mixing", 1) / 2
    target = (1 - share) * mean + share / mean.shape[1]
    mixed = (1 - share[:, :, None, None]) * start + share[:, :, None, None] * last
    right = (mean.argmax(dim=1) == y).float()
    divergence = kl(target, noisy_logits(model, mixed, noise)).mean(0)
    return mean_cross_entropy(state, logits, y) + p["eta"] * warm * (right * divergence).mean(), logits[0]


def trajectory(
    model: nn.Module, x: Tensor, y: Tensor, noise: Tensor, alpha: float, steps: int
) -> tuple[Tensor, Tensor]:
    """The first and the last point of the attack: each step of length α, images cut to [0, 1]."""
    objective = smoothed_loss(model, noise, y)
    first = at = x
    for step in range(steps):
        at = (at + alpha * unit(gradient(objective, at))).clamp(0, 1)
        first = at if step == 0 else first
    return first.detach(), at.detach()
