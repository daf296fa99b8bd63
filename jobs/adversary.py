"""The steps of projected gradient descent (Madry et al. 2018) and of DDN (Rony et al. 2019).

Adversarial training and the attacks of `jobs.attacks` share them; what is attacked and what is kept of the images on
the way is theirs.
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
    """−log F̄(x)_y over these noises (Salman 2019, equation S)."""
    return lambda x: loss_of_mean(noisy_logits(model, x, noise), y)


def loss_of_mean(logits: Tensor, y: Tensor) -> Tensor:
    """−log F̄_y, (m, B, classes) → (B,); with one noise it is the cross-entropy, which a tiny probability doesn't cut."""
    if len(logits) == 1:
        return cross_entropies(logits, y)[0]
    return -log_of(mean_softmax(logits).gather(1, y[:, None])[:, 0])


def gradient(objective: Objective, x: Tensor) -> Tensor:
    """Gradient of the objective's sum with respect to the images; the model's own gradients stay untouched."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        return torch.autograd.grad(objective(x).sum(), x)[0].float()


def pgd(
    x: Tensor,
    direction: Callable[[Tensor], Tensor],
    radius: float | Tensor,
    steps: int,
    *,
    norm: str = "l2",
    start: Tensor | None = None,
    last_cut: str = "ball",
) -> Tensor:
    """x + δ with ‖δ‖ ≤ `radius`: steps of 2 `radius` / `steps` along the normalised direction (its sign in `linf`).

    After each step the image is cut to [0, 1] and then δ to the ball, in the order of Salman's code; with `last_cut`
    "box" to the ball and then to [0, 1]. Both orders end within both. Where
    the direction is zero the image stays (the public code takes a random one there). `radius` may be one per image,
    (B, 1, 1, 1), and `start` the first δ in place of zero.
    """
    forward, to_ball = (unit, within) if norm == "l2" else (torch.sign, within_box)

    def cut(delta: Tensor) -> Tensor:
        if last_cut == "box":
            return (x + to_ball(delta, radius)).clamp(0, 1) - x
        return to_ball((x + delta).clamp(0, 1) - x, radius)

    delta = torch.zeros_like(x) if start is None else cut(start)
    for _ in range(steps):
        delta = cut(delta + (2 * radius / steps) * forward(direction(x + delta)))
    return (x + delta).detach()


def within_box(x: Tensor, radius: float | Tensor) -> Tensor:
    """Each pixel cut to at most this size."""
    return x.clamp(min=-radius, max=radius)  # type: ignore[arg-type]  # torch declares two numbers or two tensors


def ddn(
    x: Tensor,
    evaluate: Callable[[Tensor], tuple[Tensor, Tensor]],
    start: float,
    steps: int,
    *,
    gamma: float = 0.05,
    levels: int = LEVELS,
) -> Tensor:
    """Decoupled direction and norm: the smallest δ found that fools; zero where none did, or where x itself does.

    `evaluate` gives which images fool, (B,) bool, and the direction to go on in. The norm begins at `start`
    and shrinks or grows by `gamma` as the attack succeeds or fails; the step falls along half a cosine from 1 to
    0.01. Pixels are rounded to `levels` levels, unless that is 0.
    """
    delta = torch.zeros_like(x)
    best, best_norm = torch.zeros_like(x), torch.full_like(norm_of(x), math.inf)
    norm = torch.full_like(norm_of(x), start)
    for step in range(steps):
        hit, direction = evaluate(x + delta)
        fooled = hit[:, None, None, None]
        smaller = fooled & (norm_of(delta) < best_norm)
        best, best_norm = torch.where(smaller, delta, best), torch.where(smaller, norm_of(delta), best_norm)
        rate = 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / steps))
        delta = delta + rate * unit(direction)
        norm = norm * torch.where(fooled, 1 - gamma, 1 + gamma)
        delta = delta * norm / norm_of(delta).clamp(min=SMALLEST)
        image = (x + delta).clamp(0, 1)
        delta = ((image * (levels - 1)).round() / (levels - 1) if levels else image) - x
    return best
