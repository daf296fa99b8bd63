"""Linear lower bounds over a ball for many subproblems at once, each with some ReLUs fixed to one side.

From the last layer back to the image every open ReLU is replaced by a line below or above it (Zhang et al. 2018,
CROWN): max(z, 0) ≥ αz for any α in [0, 1], and ≤ u(z − l)/(u − l) between its bounds l < 0 < u. A ReLU that a
subproblem fixes is linear, and that its z has the sign s is used with a multiplier β ≥ 0: f ≥ f − βsz there (Wang et al.
2021, β-CROWN). Every choice of α and β gives a bound that holds; gradient steps find good ones.
All of it is float64.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from jobs.verifiers.ball import Ball
from jobs.verifiers.matrices import Bounds, Layer

STEP = 0.2
"""Learning rate of the gradient steps (Adam); α lives in [0, 1]."""


class Bounded(NamedTuple):
    """Lower bounds of m linear functions of one layer in each of B subproblems."""

    value: Tensor
    """(B, m)."""
    image: Tensor
    """(B, m, d): the bound's coefficients of the image, whose minimiser is where a counterexample may be."""
    coefficients: list[Tensor]
    """The bound's coefficients of each earlier ReLU layer's outputs, (B, m, units)."""


@dataclass(frozen=True)
class Choice:
    """The free numbers of B subproblems' bounds, one tensor per ReLU layer."""

    slopes: list[Tensor]
    """α, (B, m or 1, units)."""
    multipliers: list[Tensor] = field(default_factory=list)
    """β, (B, 1, units); empty where nothing is fixed."""

    def parameters(self) -> list[Tensor]:
        return [*self.slopes, *self.multipliers]

    def clip_(self) -> None:
        for slope in self.slopes:
            slope.clamp_(0, 1)
        for multiplier in self.multipliers:
            multiplier.clamp_(min=0)


def first_slopes(bounds: Sequence[Bounds]) -> list[Tensor]:
    """CROWN's: 1 where the ReLU's triangle is smaller that way, else 0."""
    return [(upper > -lower).double()[:, None] for lower, upper in bounds]


def lower_bound(
    layers: Sequence[Layer], bounds: Sequence[Bounds], ball: Ball, objective: Tensor,
    choice: Choice | None = None, signs: Sequence[Tensor] | None = None,
) -> Bounded:  # fmt: skip
    """The least that `objective` (B or 1, m, units) · z of layer number len(bounds) can be in the ball.

    `bounds` are those of z of every earlier layer, a fixed ReLU's with one side at 0. `choice` has α and β, by default CROWN's α
    and no β, which is used with `signs`: per layer (B, units), 1 or −1 where a ReLU is fixed to that side, else 0.
    """
    slopes = first_slopes(bounds) if choice is None else choice.slopes
    layer = layers[len(bounds)]
    parts = {j: objective @ weight for j, weight in layer.weights.items()}
    constant = objective @ layer.bias
    coefficients = []
    for j in range(len(bounds), 0, -1):
        layer, (lower, upper) = layers[j - 1], bounds[j - 1]
        after = parts.pop(j, None)
        if after is None:  # a layer that nothing further on looks at
            after = torch.zeros((*constant.shape, len(layer.bias)), dtype=torch.float64)
        coefficients.append(after)
        on, off = lower >= 0, upper <= 0
        open_ = ~(on | off)
        chord = torch.where(open_, upper / (upper - lower).clamp(min=1e-300), on.double())[:, None]
        offset = torch.where(open_, -lower, 0.0)[:, None] * chord
        below = torch.where(open_[:, None], slopes[j - 1], on.double()[:, None])
        down = after.clamp(max=0)
        constant = constant + (down * offset).sum(dim=-1)
        before = after.clamp(min=0) * below + down * chord
        if choice is not None and choice.multipliers and signs is not None:
            before = before - choice.multipliers[j - 1] * signs[j - 1][:, None]
        constant = constant + before @ layer.bias
        for i, weight in layer.weights.items():
            term = before @ weight
            parts[i] = parts[i] + term if i in parts else term
    return Bounded(ball.minimum(parts[0]) + constant, parts[0], coefficients[::-1])


def improve(
    layers: Sequence[Layer], bounds: Sequence[Bounds], ball: Ball, objective: Tensor, choice: Choice, steps: int,
    signs: Sequence[Tensor] | None = None, enough: Tensor | float = math.inf,
) -> tuple[Bounded, Choice]:  # fmt: skip
    """The best bounds that gradient steps on `choice` find; each row keeps the numbers of its own best step."""
    leaves = [tensor.clone().requires_grad_() for tensor in choice.parameters()]
    current = Choice(leaves[: len(bounds)], leaves[len(bounds) :])
    best: Tensor | None = None
    kept = [leaf.detach().clone() for leaf in leaves]
    moments = [(torch.zeros_like(leaf), torch.zeros_like(leaf)) for leaf in kept]
    for step in range(steps + 1):
        with torch.enable_grad():
            found = lower_bound(layers, bounds, ball, objective, current, signs)
        value = found.value.detach()
        better = torch.ones_like(value, dtype=torch.bool) if best is None else value > best
        best = value if best is None else torch.maximum(best, value)
        for old, new in zip(kept, leaves, strict=True):
            # Slopes of one row of the objective, or numbers that all rows of a subproblem share.
            rows = better if old.shape[1] == better.shape[1] else better.any(dim=1, keepdim=True)
            old.copy_(torch.where(rows[..., None], new.detach(), old))
        if step == steps or bool((best > enough).all()):
            break
        gradients = torch.autograd.grad(found.value.sum(), leaves, allow_unused=True)
        with torch.no_grad():
            for leaf, gradient, (mean, square) in zip(leaves, gradients, moments, strict=True):
                if gradient is not None:
                    _ascend(leaf, gradient, mean, square, step + 1)
            current.clip_()
    final = Choice(kept[: len(bounds)], kept[len(bounds) :])
    with torch.no_grad():
        return lower_bound(layers, bounds, ball, objective, final, signs), final


def layer_bounds(layers: Sequence[Layer], ball: Ball, steps: int) -> list[Bounds]:
    """Bounds of every ReLU's input, (1, units) each: CROWN, and for open ReLUs `steps` gradient steps on α."""
    bounds: list[Bounds] = []
    for number, layer in enumerate(layers[:-1]):
        units = torch.eye(len(layer.bias), dtype=torch.float64)[None]
        with torch.no_grad():
            lower = lower_bound(layers, bounds, ball, units).value
            upper = -lower_bound(layers, bounds, ball, -units).value
        open_ = ((lower < 0) & (upper > 0))[0].nonzero()[:, 0]
        if number and steps and len(open_):
            objective = torch.cat([units[:, open_], -units[:, open_]], dim=1)
            slopes = [slope.expand(1, objective.shape[1], -1) for slope in first_slopes(bounds)]
            value = improve(layers, bounds, ball, objective, Choice(slopes), steps)[0].value
            lower[0, open_] = torch.maximum(lower[0, open_], value[0, : len(open_)])
            upper[0, open_] = torch.minimum(upper[0, open_], -value[0, len(open_) :])
        slack = 1e-12 * (lower.abs() + upper.abs()) + 1e-12
        bounds.append((lower - slack, upper + slack))
    return bounds


def _ascend(leaf: Tensor, gradient: Tensor, mean: Tensor, square: Tensor, step: int) -> None:
    """One step of Adam (Kingma and Ba 2015), upwards; `torch.optim` takes seconds to import."""
    mean.mul_(0.9).add_(gradient, alpha=0.1)
    square.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
    rate = STEP * math.sqrt(1 - 0.999**step) / (1 - 0.9**step)
    leaf.addcdiv_(mean, square.sqrt().add_(1e-12), value=rate)
