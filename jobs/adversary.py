"""Attacks on a function of images: projected gradient descent and DDN, both within an ℓ2 ball.

Madry et al. 2018 and Rony et al. 2019, in the form in which Salman et al. 2019 attack a smoothed classifier:
the objective averages over noises, and the noises stay the same throughout.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from jobs.losses import SMALLEST, cross_entropies, log_of, mean_softmax, noisy_logits, norm_of, unit, within

Objective = Callable[[Tensor], Tensor]
"""Images (B, C, H, W) → what the attack raises, one number per image (B,)."""
LEVELS = 256


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """The model in eval mode, as all the public code attacks it; its batch statistics stay as they are."""
    before = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(before)


def smoothed_loss(model: nn.Module, noise: Tensor, y: Tensor) -> Objective:
    """−log F̄(x)_y over these noises (Salman 2019, equation S); with one noise it is the cross-entropy."""

    def objective(x: Tensor) -> Tensor:
        logits = noisy_logits(model, x, noise)
        if len(noise) == 1:
            return cross_entropies(logits, y)[0]
        return -log_of(mean_softmax(logits).gather(1, y[:, None])[:, 0])

    return objective


def gradient(objective: Objective, x: Tensor) -> Tensor:
    """Of the objective's sum with respect to the images; the model's own gradients stay untouched."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        return torch.autograd.grad(objective(x).sum(), x)[0].float()


def pgd(x: Tensor, direction: Callable[[Tensor], Tensor], radius: float, steps: int) -> Tensor:
    """x + δ with ‖δ‖₂ ≤ `radius`: steps of 2 `radius` / `steps` along the normalised direction.

    After each step the image is cut to [0, 1] and then δ to the ball, in the order of the public code. Where
    the direction is zero the image stays (the public code takes a random one there).
    """
    delta = torch.zeros_like(x)
    for _ in range(steps):
        delta = delta + (2 * radius / steps) * unit(direction(x + delta))
        delta = within((x + delta).clamp(0, 1) - x, radius)
    return (x + delta).detach()


def ddn(
    x: Tensor,
    y: Tensor,
    objective: Objective,
    predict: Callable[[Tensor], Tensor],
    radius: float,
    steps: int,
    gamma: float = 0.05,
) -> Tensor:
    """Decoupled direction and norm: the smallest δ found that changes the prediction, cut to `radius`.

    The norm begins at `radius` (so the public code) and shrinks or grows by `gamma` as the attack succeeds or
    fails; the step falls along half a cosine from 1 to 0.01. An image that is wrong already, or that no step fooled, comes back as it was.
    """
    delta = torch.zeros_like(x)
    best, best_norm = torch.zeros_like(x), torch.full_like(norm_of(x), math.inf)
    norm = torch.full_like(norm_of(x), radius)
    for step in range(steps):
        fooled = (predict(x + delta) != y)[:, None, None, None]
        smaller = fooled & (norm_of(delta) < best_norm)
        best, best_norm = torch.where(smaller, delta, best), torch.where(smaller, norm_of(delta), best_norm)
        rate = 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / steps))
        delta = delta + rate * unit(gradient(objective, x + delta))
        norm = norm * torch.where(fooled, 1 - gamma, 1 + gamma)
        delta = delta * norm / norm_of(delta).clamp(min=SMALLEST)
        delta = ((x + delta).clamp(0, 1) * (LEVELS - 1)).round() / (LEVELS - 1) - x
    return (x + within(best, radius)).detach()
