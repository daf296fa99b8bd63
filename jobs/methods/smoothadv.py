"""SmoothAdv (Salman et al. 2019, section 3): adversarial training of the smoothed classifier.

The attack raises −log F̄(x')_y; training then takes the mean cross-entropy over noises at x' (not the log of the
mean, as in the authors' code). Attack and training use the same noises.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from jobs.adversary import ddn, evaluating, gradient, loss_of_mean, pgd, smoothed_loss
from jobs.losses import mean_cross_entropy, mean_softmax, noisy_logits, unit, within
from jobs.state import TrainingState


def loss(model: nn.Module, x: Tensor, y: Tensor, state: TrainingState) -> tuple[Tensor, Tensor]:
    """Mean CE(F(x' + δ_i), y) at the adversarial example x' of the smoothed classifier."""
    p = state.parameters
    noise = state.noises(p["noises"])
    with evaluating(model):
        adversarial = attack(model, x, y, noise, warmed_up(p["epsilon"], p["warmup"], state.epoch), p)
    # A gradient-free attack with many noises needn't train with all of them.
    logits = noisy_logits(model, adversarial, noise if p["train_multi_noise"] else noise[:1])
    return mean_cross_entropy(state, logits, y), logits[0]


def warmed_up(epsilon: float, warmup: int, epoch: float) -> float:
    """The radius of the attack in this epoch: grows linearly over `warmup` epochs."""
    return min(epsilon, (int(epoch) + 1) * epsilon / warmup)


def attack(
    model: nn.Module, x: Tensor, y: Tensor, noise: Tensor, epsilon: float, p: dict[str, Any]
) -> Tensor:
    """Adversarial examples of the smoothed classifier within an ℓ2 ball."""
    if p["attack"] == "pgd-no-grad":
        return pgd(x, lambda at: stein(model, at, y, noise), epsilon, p["steps"])
    if p["attack"] == "pgd":
        objective = smoothed_loss(model, noise, y)
        return pgd(x, lambda at: gradient(objective, at), epsilon, p["steps"])

    def evaluate(at: Tensor) -> tuple[Tensor, Tensor]:
        """Return a mask of images that enough noises, or F̄, misclassify, and the gradient."""
        with torch.enable_grad():
            at = at.detach().requires_grad_()
            logits = noisy_logits(model, at, noise)
            (g,) = torch.autograd.grad(loss_of_mean(logits, y).sum(), at)
        return decided(logits.detach(), p["decision"]) != y, g.float()

    # As in the authors' code the norm begins at ε, and what was found is cut to it. (There δ, once cut, is rounded to whole
    # pixel values again, which may leave the ball.)
    return (x + within(ddn(x, evaluate, epsilon, p["steps"]), epsilon)).detach()


def decided(logits: Tensor, decision: str) -> Tensor:
    """The class of images under m noises, (m, B, classes) → (B,): of F̄, or most `votes`, the lowest class where two have as many."""
    if decision == "votes":
        return functional.one_hot(logits.argmax(dim=2), logits.shape[2]).sum(dim=0).argmax(dim=1)
    return mean_softmax(logits).argmax(dim=1)


@torch.no_grad()
def stein(model: nn.Module, x: Tensor, y: Tensor, noise: Tensor) -> Tensor:
    """Direction in which F̄_y falls, from forward passes alone: ∇E[F(x + δ)] = E[F(x + δ)·δ]/σ² (Stein's lemma)."""
    p = noisy_logits(model, x, noise).softmax(dim=-1)[:, torch.arange(len(y)), y]
    return -unit((p[:, :, None, None, None] * noise).mean(0))
