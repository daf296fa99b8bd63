"""The optimiser that a recipe names."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from jobs.models.architectures.linf_distance import Distance
from rsctl.catalog.recipe import Recipe


def make_optimizer(recipe: Recipe, model: nn.Module) -> torch.optim.Optimizer:
    """The recipe's optimiser of all weights that aren't frozen."""
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    if recipe.optimizer == "adam":
        betas = (recipe.momentum, 0.999)
        return torch.optim.Adam(weights, lr=recipe.lr, betas=betas, weight_decay=recipe.weight_decay)
    if recipe.optimizer == "adamw-lp":
        return DistanceAdamW(model, recipe.lr, recipe.momentum, recipe.weight_decay)
    return torch.optim.SGD(
        weights,
        lr=recipe.lr,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        weight_decay=recipe.weight_decay,
    )


class DistanceAdamW(torch.optim.AdamW):
    """Adam with decoupled weight decay, for ℓ∞-distance layers in the norm that they measure with at that step.

    As the code of Zhang et al. 2021 has it (adamw.py): β₂ = 0.99, ε = 1e-10; the weights w of one unit are moved along the
    gradient of ‖w‖_p²/2. Every other layer's weights decay in ℓ2, as in AdamW.
    """

    def __init__(self, model: nn.Module, lr: float, beta: float, weight_decay: float) -> None:
        super().__init__(model.parameters(), lr=lr, betas=(beta, 0.99), eps=1e-10, weight_decay=0.0)
        self.decay = weight_decay
        self.owners = [(layer, p) for layer in model.modules() for p in layer.parameters(recurse=False)]

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        rate = self.param_groups[0]["lr"] * self.decay
        for layer, parameter in self.owners:
            if parameter.grad is not None and rate:
                pull = pulled(parameter, layer.p) if isinstance(layer, Distance) else parameter
                parameter.sub_(pull, alpha=rate)
        return super().step(closure)


def pulled(weight: Tensor, p: float) -> Tensor:
    """Gradient of ‖w‖_p²/2 for each row w, (|w_i|/‖w‖_p)^(p − 2)·w_i; in ℓ∞ the largest entry alone, the first of equals."""
    rows = weight.reshape(len(weight), -1)
    if math.isinf(p):
        largest = rows.abs().argmax(dim=1, keepdim=True)
        return torch.zeros_like(rows).scatter(1, largest, rows.gather(1, largest)).view_as(weight)
    square = rows.square() + 1e-10
    square = square / square.amax(dim=1, keepdim=True)
    size = square.pow(p / 2).sum(dim=1, keepdim=True).pow(2 / p - 1)
    return (size * square.pow(p / 2 - 1) * rows).view_as(weight)
