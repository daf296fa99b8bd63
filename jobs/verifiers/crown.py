"""Linear bound propagation (CROWN, Zhang et al. 2018): linear functions of the image below and above every operation.

From what is to be bounded, a linear function of the logits say, the coefficients are carried back operation by
operation, x ↦ Wᵀx; at an unstable ReLU with l < z < u they take the line s(z − l), s = u/(u − l), where that makes the
result smaller, and z or 0 elsewhere, whichever leaves the smaller triangle (adaptive slopes). Bounds of what goes into
the ReLUs come first: by CROWN itself, or by intervals alone (CROWN-IBP, Zhang et al. 2020).

All in float64, and for the float32 function as executed: where the coefficients a meet the result of an operation,
|a|·E is paid, E at least what rounding can change of that result, in the function and in carrying the coefficients.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from jobs.verifiers.ibp import Interval, Margins, box, propagate, result
from jobs.verifiers.network import Network, unsupported
from jobs.verifiers.operations import TINY, UNIT, Add, Affine, DistanceOp, MaxMinOp, Op, Relu, Reshape
from jobs.verifiers.prover import RadiusSearch, SumsOfProducts
from jobs.verifiers.tracing import trace
from rsctl.catalog.declare import DataShape

U = UNIT[torch.float64]
TOGETHER = {"cpu": 2**19}
"""Coefficients held at once by kind of device: 4 MB stay in a CPU's cache, which halves its time; others hold `MOST`."""
MOST = 2**24


@dataclass(frozen=True)
class Balls:
    """Images of [0, 1] pixels within a distance of given ones."""

    images: Tensor
    """(N, C, H, W) float64."""
    radius: Tensor
    """(N,) float64."""
    norm: str = "linf"
    """`linf`, `l2` or `l1`."""

    @property
    def box(self) -> Interval:
        """The interval of every pixel, rounded outward."""
        return box(self.images, self.radius, torch.float64)

    def lower(self, a: Tensor, constant: Tensor) -> Tensor:
        """Least value of a·x + constant over the ball, rounded down: (N, S, C, H, W) and (N, S) → (N, S)."""
        a = a.flatten(2)
        pixels, size = self.box, a.abs()
        low, high = pixels.lower.flatten(1), pixels.upper.flatten(1)
        centre, spread = (low + high) / 2, (high - low) / 2
        value = (a @ centre[:, :, None] - size @ spread[:, :, None])[:, :, 0]
        total = size.sum(dim=2)
        if self.norm != "linf":
            dual = a.norm(dim=2) if self.norm == "l2" else size.amax(dim=2)
            at = (a @ self.images.flatten(1)[:, :, None])[:, :, 0] - self.radius[:, None] * dual
            value = torch.maximum(value, at)
        error = 8 * (a.shape[2] + 8) * U * total * (1 + self.radius[:, None])
        value = value - error + constant
        return value - 4 * U * (value.abs() + constant.abs())


class LinearBounds:
    """Carries linear functions back to the image, through one network over one set of boxes.

    `intervals` bound every operation's result (from `propagate` or `bounds`), float64; those of what goes into a ReLU
    may be cut further, for a part of the ball where its sign is fixed.
    """

    unit, slack = U, 1e-9
    """Allowances for the rounding of sums, and of the upper lines' constants; 0 in exact arithmetic."""

    def __init__(self, network: Network, intervals: list[Interval]) -> None:
        self.network, self.intervals = network, intervals
        self.errors: dict[int, Tensor] = {}

    def error(self, number: int) -> Tensor:
        """E of an operation's result, (N, *shape): executed and carried back otherwise than in exact arithmetic."""
        if number not in self.errors:
            op = self.network.ops[number]
            sizes = [self.intervals[source].magnitude for source in op.inputs]
            # Ours: Wᵀa is a sum of at most so many products as the result has numbers, and so is a·b.
            ours = 4 * (torch.Size(op.shape).numel() + 10) * U
            if isinstance(op, Affine):
                reach = op.absolute(sizes[0], op.bias_size) * 1.01
                value = reach * (op.error(torch.float64) + ours)
            elif isinstance(op, Add):
                value = (sizes[0] + sizes[1]) * (2 * UNIT[torch.float32] + ours)
            else:
                value = sizes[0] * ours
            self.errors[number] = value + TINY
        return self.errors[number]

    def carry(
        self, a: Tensor, start: int, slopes: Mapping[int, Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        """a·z ≥ a₀·x + c for the result z of operation `start`: (N, S, *shape) → (N, S, C, H, W) and (N, S).

        `slopes` gives lower lines' slopes in [0, 1] by number of the ReLU, (N, *shape), instead of the adaptive ones.
        """
        network = self.network
        pending: dict[int, Tensor] = {start: a}
        constant = a.new_zeros(a.shape[:2])
        seen = torch.zeros_like(constant)
        for number in range(start, 0, -1):
            if number not in pending:
                continue
            a, op = pending.pop(number), network.ops[number]
            lost = self.paid(a, number)
            gained: Tensor | float = 0.0
            if isinstance(op, Affine):
                gained = a.flatten(2) @ op.bias.expand(op.shape).reshape(-1)
                parts = {op.inputs[0]: op.transpose(a.flatten(0, 1)).unflatten(0, a.shape[:2])}
            elif isinstance(op, Relu):
                a, gained = self.relu(a, number, None if slopes is None else slopes.get(number))
                parts = {op.inputs[0]: a}
            elif isinstance(op, Reshape):
                parts = {op.inputs[0]: a.reshape(*a.shape[:2], *op.before)}
            elif isinstance(op, Add) and op.inputs[0] == op.inputs[1]:
                parts = {op.inputs[0]: 2 * a}
            elif isinstance(op, Add):
                parts = dict.fromkeys(op.inputs, a)
            else:
                raise unsupported_line(op)
            for source, part in parts.items():
                pending[source] = pending[source] + part if source in pending else part
            constant = constant + gained - lost
            seen = seen + lost + (gained.abs() if isinstance(gained, Tensor) else 0.0)
        left = pending.get(0)
        if left is None:
            left = a.new_zeros((*constant.shape, *network.ops[0].shape))
        return left, constant - 8 * len(network.ops) * self.unit * seen

    def paid(self, a: Tensor, number: int) -> Tensor:
        """|a|·E, (N, S)."""
        return (a.abs().flatten(2) @ self.error(number).flatten(1)[:, :, None])[:, :, 0]

    def relu(self, a: Tensor, number: int, slope: Tensor | None) -> tuple[Tensor, Tensor]:
        """a·max(z, 0) ≥ a′·z + c on l ≤ z ≤ u: a′ and c, c without the error of its sum, which `error` pays."""
        low, high = self.intervals[self.network.ops[number].inputs[0]]
        # What overflowed is open as well, and makes the result no number: nothing is proved with it.
        unstable = ~((low >= 0) | (high <= 0))
        below = ((high > -low) if slope is None else slope).to(low.dtype)
        below = torch.where(unstable, below, (low >= 0).to(low.dtype))
        steep = torch.where(unstable, high / torch.where(unstable, high - low, 1.0), below)
        # The upper line meets the ReLU at both ends: lifted until it does in floating point too.
        lift = torch.maximum(-steep * low, (1 - steep) * high) * (1 + 16 * self.unit)
        lift = torch.where(unstable, lift, 0.0)
        negative = a.clamp(max=0)
        carried = a.clamp(min=0) * below[:, None] + negative * steep[:, None]
        return carried, (negative.flatten(2) @ lift.flatten(1)[:, :, None])[:, :, 0] * (1 + self.slack)

    def least(self, ball: Balls, a: Tensor, start: int) -> Tensor:
        """Lower bounds of a·z over the ball, (N, S, *shape) → (N, S); in chunks that fit into memory."""
        some = together(self.network, start, a.device, len(a))
        return torch.cat([ball.lower(*self.carry(part, start)) for part in a.split(some, dim=1)], dim=1)


def together(network: Network, last: int, device: torch.device, count: int) -> int:
    """Number of functions of the result of operation `last` to carry at once, for `count` images each."""
    widest = max(torch.Size(op.shape).numel() for op in network.ops[: last + 1])
    return max(1, TOGETHER.get(device.type, MOST) // (widest * count))


def unsupported_line(op: Op) -> Exception:
    kind = "an ℓ∞-distance layer" if isinstance(op, DistanceOp) else type(op).__name__
    return unsupported(
        f"the layer '{op.name}' is {kind}; linear bounds don't go through it, intervals do (`ibp`)"
    )


def bounds(network: Network, ball: Balls, *, intermediate: str = "crown") -> list[Interval]:
    """Bounds of every operation's result over a ball, float64, each (N, *shape).

    `network` in float64. With `intermediate` "crown" what goes into a ReLU is bounded by linear bounds where intervals
    leave its sign open, with "ibp" by intervals alone. Never looser than `propagate` on the same box.
    """
    start = ball.box
    if intermediate == "ibp":
        return propagate(network, start)
    found: list[Interval] = [start]
    curved = [False]  # whether a ReLU came before
    wanted = {network.ops[number].inputs[0] for number in network.relus}
    for number, op in enumerate(network.ops[1:], 1):
        found.append(result(network, op, [found[source] for source in op.inputs]))
        curved.append(isinstance(op, Relu) or any(curved[source] for source in op.inputs))
        # Before the first ReLU an interval over a box is exact already.
        if number in wanted and (curved[number] or ball.norm != "linf"):
            found[number] = refine(network, found, ball, number)
    return found


def refine(network: Network, found: list[Interval], ball: Balls, number: int) -> Interval:
    """The bounds of operation `number`, tightened where its sign is open for any of the images."""
    low, high = found[number]
    flat_low, flat_high = low.flatten(1).clone(), high.flatten(1).clone()
    # An image's bounds depend on no other: what is open for another only is left as it is.
    open_ = (flat_low < 0) & (flat_high > 0)
    rows = open_.any(dim=0).nonzero()[:, 0]
    lines, shape = LinearBounds(network, found), network.ops[number].shape
    size, count = torch.Size(shape).numel(), len(low)
    for part in rows.split(together(network, number, low.device, 2 * count)):
        one = torch.zeros(len(part), size, dtype=torch.float64, device=low.device)
        one[torch.arange(len(part)), part] = 1.0
        both = torch.cat([one, -one]).view(1, 2 * len(part), *shape).expand(count, *(-1,) * (len(shape) + 1))
        least = lines.least(ball, both, number)
        own_open = open_[:, part]
        below, above = least[:, : len(part)], -least[:, len(part) :]
        flat_low[:, part] = torch.where(own_open, below.maximum(flat_low[:, part]), flat_low[:, part])
        flat_high[:, part] = torch.where(own_open, above.minimum(flat_high[:, part]), flat_high[:, part])
    return Interval(flat_low.view_as(low), flat_high.view_as(high))


def margins(network: Network, ball: Balls, y: Tensor, found: list[Interval]) -> Tensor:
    """Lower bounds of f_y − f_c over the ball, (N, classes), inf at c = y: the better of linear bounds and intervals."""
    one = torch.eye(network.classes, dtype=torch.float64, device=y.device)
    wanted = one[y][:, None] - one
    worst = LinearBounds(network, found).least(ball, wanted, len(network.ops) - 1)
    last = network.ops[-1].inputs[0]
    worst = torch.maximum(worst, Margins(network).of(found[last], y))
    worst[torch.arange(len(y), device=y.device), y] = math.inf
    return worst


def prepare(
    model: nn.Sequential, parameters: Any, *, shape: DataShape, norm: str, radii: list[float], precision: str
) -> RadiusSearch:
    """Linear bounds of the executed float32 function; see `jobs.verifiers`."""
    executed = SumsOfProducts(model, precision)
    network = trace(executed, (shape.channels, shape.size, shape.size)).to(torch.float64)
    for op in network.ops:
        if isinstance(op, (DistanceOp, MaxMinOp)):
            raise unsupported_line(op)

    def proved(images: Tensor, labels: Tensor, radius: Tensor) -> Tensor:
        ball = Balls(images.double(), radius, norm)
        found = bounds(network, ball, intermediate=parameters.intermediate)
        return (margins(network, ball, labels, found) > 0).all(dim=1)

    return RadiusSearch(executed, proved, radii, parameters)
