"""Lipschitz-margin training (Tsuzuku, Sato, Sugiyama 2018, equation 8): every other class's logit is raised by what it may
gain on its own within the radius, the Lipschitz constant of f_c − f_y times the radius.

Norms of layers come from power iteration, one step per optimiser step, with gradients: an estimate to train with; the
verifier bounds them from above. ℓ∞-distance layers need none, and let p grow from `p_start` to `p_end`, then ∞ (Zhang et al.
2021, section 4.2). With `scaled`, as in LMT's own code, what is added is cut to the margin that there is: all classes of
an image get the same share of it, which has no gradient.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrize import cached, is_parametrized

from jobs.models.architectures.linf_distance import set_p
from jobs.precision import in_full
from jobs.random import generator
from jobs.state import TrainingState
from jobs.verifiers.network import Network
from jobs.verifiers.operations import Affine, Conv, Dense, DistanceOp, Scale
from jobs.verifiers.tracing import trace
from jobs.worst_case import ramp


class Directions(nn.Module):
    """One vector per layer: the current state of its power iteration."""

    def __init__(self, network: Network, state: TrainingState) -> None:
        super().__init__()
        for number, op in enumerate(network.ops):
            if isinstance(op, (Dense, Conv)):
                key = generator(torch.device("cpu"), state.seed, "directions", number)
                first = torch.randn(1, *network.ops[op.inputs[0]].shape, generator=key)
                self.register_buffer(f"layer{number}", first.to(state.device))


def prepare(model: nn.Module, state: TrainingState) -> Iterator[None]:
    """The directions of power iteration, saved with every checkpoint."""
    shape = state.images.shape
    network = trace(model, (shape.channels, shape.size, shape.size), live=True)
    state.keep("directions", Directions(network, state))
    yield from ()


def loss(model: nn.Module, x: Tensor, y: Tensor, state: TrainingState) -> tuple[Tensor, Tensor]:
    """Cross-entropy, or the hinge at 0, of the logits with these margins added."""
    p = state.parameters
    set_p(model, exponent(state.epoch, p))
    with cached():  # an orthogonal weight is computed once and in full, for the logits and for the constants
        with in_full(x):
            compute_weights(model)
        logits = model(x)
        network = trace(model, x.shape[1:], live=True)
    with in_full(x):
        constants = margin_constants(network, p["norm"], state.get("directions", Directions))
    radius = p["radius"] * ramp(state.epoch, 0.0, p["radius_epochs"])
    own = one_hot(y, logits)
    added = radius * (constants[y] if constants.dim() else constants.expand_as(logits)) * (1 - own)
    if p["scaled"]:
        added = share_of_margin(logits.detach(), added.detach(), y) * added
    worst = logits + added
    if p["hinge"]:
        # 0 for the class itself, which the mean counts too.
        gaps = (worst - logits.gather(1, y[:, None])).relu() * (1 - own)
        mix = p["hinge_mix"]
        return (mix * gaps.amax(dim=1) + (1 - mix) * gaps.mean(dim=1)).mean(), logits
    return state.cross_entropy(worst, y), logits


def compute_weights(model: nn.Module) -> None:
    """Every weight that is a function of others, for the cache."""
    for layer in model.modules():
        if is_parametrized(layer):
            for name in cast(nn.ModuleDict, layer.parametrizations):
                getattr(layer, name)


def share_of_margin(logits: Tensor, added: Tensor, y: Tensor) -> Tensor:
    """min over c ≠ y of (f_y − f_c)/added_c, between 0 and 1; (B, 1)."""
    margin = logits.gather(1, y[:, None]) - logits
    share = torch.where(margin >= added, 1.0, margin / added.clamp(min=1e-20)).clamp(0, 1)
    return share.masked_fill(one_hot(y, logits).bool(), 1.0).amin(dim=1, keepdim=True)


def one_hot(y: Tensor, logits: Tensor) -> Tensor:
    return functional.one_hot(y, logits.shape[1]).to(logits.dtype)


def exponent(epoch: float, p: dict[str, float]) -> float:
    """p of the distance layers: `p_start` for `p_hold` epochs, grows geometrically over `p_epochs`, then ∞."""
    growing = epoch - p["p_hold"]
    if growing >= p["p_epochs"]:
        return math.inf
    growth: float = (p["p_end"] / p["p_start"]) ** (max(0.0, growing) / max(p["p_epochs"], 1e-9))
    return p["p_start"] * growth


def margin_constants(network: Network, norm: str, directions: nn.Module) -> Tensor:
    """Lipschitz constants of f_c − f_y, (y, c), or one number for all where the last layer isn't linear."""
    total: list[Tensor | float] = [1.0]
    for number, op in enumerate(network.ops[1:], 1):
        before = sum(total[source] for source in op.inputs)
        total.append(before * layer_constant(op, number, norm, directions))
    last = network.ops[-1]
    if not isinstance(last, Dense):
        return torch.as_tensor(total[-1]) * (math.sqrt(2) if norm == "l2" else 2.0)
    apart = last.weight[:, None] - last.weight
    if norm == "linf":
        return apart.abs().sum(dim=2) * total[last.inputs[0]]
    # The root has no gradient at 0, which is where y = c.
    return (apart.square().sum(dim=2) + 1e-12).sqrt() * total[last.inputs[0]]


def layer_constant(op: object, number: int, norm: str, directions: nn.Module) -> Tensor | float:
    """An estimate of one layer's constant, with a gradient."""
    if isinstance(op, Scale):
        return op.weight.abs().max()
    if isinstance(op, DistanceOp):
        return 1.0 if norm == "linf" else math.sqrt(op.shape[0])
    if not isinstance(op, Affine):
        return 1.0
    if norm == "linf":
        assert isinstance(op, (Dense, Conv))
        return op.weight.abs().flatten(1).sum(dim=1).max()
    direction = getattr(directions, f"layer{number}")
    with torch.no_grad():
        image = op.transpose(op.linear(direction))
        direction.copy_(image / image.norm().clamp(min=1e-12))
    constant: Tensor = op.linear(direction.clone()).norm()
    return constant
