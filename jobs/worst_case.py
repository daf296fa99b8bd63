"""Training against bounds: the worst logits that a bound allows within a distance, and how that distance grows.

The same operations as in verification, in the training's own precision and with gradients. Nothing is proved here, so
nothing is allowed for rounding: what a verifier adds would make bounds wider than those of the ε asked for, by 2 % at 8/255
in a large network and by some 20 % at 1e-4, where ε begins to grow.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from jobs.precision import at_least_float32, in_full
from jobs.verifiers.crown import LinearBounds
from jobs.verifiers.ibp import Interval
from jobs.verifiers.network import Network
from jobs.verifiers.operations import Affine, Dense, DistanceOp, Op
from jobs.verifiers.tracing import trace


def ramp(epoch: float, start: float, epochs: float, shape: str = "linear") -> float:
    """The share of ε that training has come to, from 0 until `start` to 1 at `start + epochs`.

    `linear`, or `smoothed`: like the fourth power over the first quarter and then straight on, without a kink (Zhang et
    al. 2020, whose schedule is smooth at its beginning).
    """
    share = 1.0 if epochs <= 0 and epoch >= start else min(1.0, max(0.0, (epoch - start) / max(epochs, 1e-9)))
    if shape == "linear":
        return share
    middle, power = 0.25, 4
    factor = 1 / (middle**power + power * middle ** (power - 1) * (1 - middle))
    if share <= middle:
        return factor * share**power
    return factor * (middle**power + power * middle ** (power - 1) * (share - middle))


class WorstCase:
    """Bounds of a model in training, over all images of [0, 1] pixels within an ℓ∞ distance of a batch."""

    def __init__(self, model: nn.Module, x: Tensor, epsilon: float) -> None:
        self.network: Network = trace(model, x.shape[1:], live=True)
        self.start = Interval((x - epsilon).clamp(0, 1), (x + epsilon).clamp(0, 1))
        self.found = propagate(self.network, self.start)

    def interval_margins(self, y: Tensor) -> Tensor:
        """f_y − f_c from intervals, the last layer and the difference taken as one, (B, classes); 0 at c = y."""
        last = self.network.ops[-1]
        with in_full(y):
            if not isinstance(last, Dense):
                lower, upper = self.found[-1]
                margins = lower.gather(1, y[:, None]) - upper
            else:
                weight = last.weight[y][:, None] - last.weight
                bias = last.bias[y][:, None] - last.bias
                margins = _least(weight, self.found[last.inputs[0]]) + bias
            return margins.scatter(1, y[:, None], 0.0)

    def linear_margins(self, y: Tensor) -> Tensor:
        """f_y − f_c likewise, from linear bounds over these intervals (CROWN-IBP)."""
        with in_full(y):
            one = torch.eye(self.network.classes, dtype=self.start.lower.dtype, device=y.device)
            lines, wanted = _Unrounded(self.network, self.found), one[y][:, None] - one
            a, constant = lines.carry(wanted, len(self.network.ops) - 1)
            return (_least(a.flatten(2), self.start) + constant).scatter(1, y[:, None], 0.0)


def _least(a: Tensor, box: Interval) -> Tensor:
    """The least value of a·x in a box, (B, classes, d) → (B, classes)."""
    lower, upper = (bound.flatten(1) for bound in box)
    centre, radius = (upper + lower) / 2, (upper - lower) / 2
    return (a @ centre[:, :, None] - a.abs() @ radius[:, :, None])[:, :, 0]


class _Unrounded(LinearBounds):
    """Lines as in exact arithmetic."""

    unit = slack = 0.0

    def paid(self, a: Tensor, number: int) -> Tensor:
        return a.new_zeros(a.shape[:2])


def propagate(network: Network, start: Interval) -> list[Interval]:
    """Bounds of every operation's result as in exact arithmetic, in the dtype of `start`."""
    found = [start]
    for op in network.ops[1:]:
        found.append(_through(op, [found[source] for source in op.inputs]))
    return found


def _through(op: Op, inputs: list[Interval]) -> Interval:
    lower, upper = inputs[0]
    if isinstance(op, Affine):
        # Both ends in full: in bfloat16 a small radius would vanish beside its centre.
        middle = op.apply((upper + lower) / 2).to(lower.dtype)
        radius = op.absolute((upper - lower) / 2).to(lower.dtype)
        return Interval(middle - radius, middle + radius)
    if isinstance(op, DistanceOp):
        nearest, farthest = op.reach(lower, upper)
        return Interval(nearest + op.bias, farthest + op.bias)
    # All others grow with everything they take.
    lowers, uppers = zip(*inputs, strict=True)
    return Interval(op.apply(*lowers), op.apply(*uppers))


def worst_cross_entropy(margins: Tensor, y: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Cross-entropy of the worst logits: 0 for the class, −margin for every other."""
    return functional.cross_entropy(-at_least_float32(margins), y, label_smoothing=label_smoothing)
