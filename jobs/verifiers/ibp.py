"""Interval bound propagation (Gowal et al. 2018): every operation's result between two numbers, for all images of a box.

The bounds are in floating point and hold for the float32 function as executed: before a sum with weights W the
interval's radius is enlarged by g(|c| + r), c its centre, and g·|b| is added, which together are at least what
rounding can change, in the function and in the bounds (see `Affine.error`). So an interval costs two passes, as in
exact arithmetic.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from jobs.verifiers.network import Network
from jobs.verifiers.operations import HUGE, TINY, UNIT, Add, Affine, Dense, DistanceOp, Op, Relu
from jobs.verifiers.prover import RadiusSearch, SumsOfProducts
from jobs.verifiers.tracing import trace
from rsctl.catalog.declare import DataShape

PASSES = 2.3
"""Cost of interval bounds, in forward passes: two convolutions for one, and making their intervals."""
ALL_PAIRS = 16
"""Classes up to which every pair's difference is bounded in one product, and the label's taken from it."""


class Interval(NamedTuple):
    """Bounds of one operation's result, each (N, *shape); the executed result and the exact one lie between."""

    lower: Tensor
    upper: Tensor

    @property
    def magnitude(self) -> Tensor:
        """The largest absolute value."""
        return torch.maximum(self.lower.abs(), self.upper.abs())


def box(images: Tensor, radius: Tensor | float, dtype: torch.dtype = torch.float32) -> Interval:
    """All images of [0, 1] pixels within an ℓ∞ distance; `radius` is one number or (N,), float64. Rounded outward."""
    radius = torch.as_tensor(radius, dtype=torch.float64, device=images.device).view(-1, 1, 1, 1).to(dtype)
    images = images.to(dtype).contiguous(memory_format=torch.channels_last)
    down, up = (images.new_tensor(towards) for towards in (-math.inf, math.inf))
    radius = torch.nextafter(radius, up)
    return Interval(
        torch.nextafter(images - radius, down).clamp_(0, 1), torch.nextafter(images + radius, up).clamp_(0, 1)
    )


def propagate(network: Network, start: Interval, *, last: int | None = None) -> list[Interval]:
    """Bounds of every operation's result for all images of a box, up to operation number `last`.

    `start` has the network's dtype. The bounds of what goes into a ReLU are those of `ops[relu].inputs[0]`.
    """
    found = [start]
    for op in network.ops[1 : None if last is None else last + 1]:
        found.append(result(network, op, [found[source] for source in op.inputs]))
    return found


def logits(network: Network, start: Interval, *, last: int | None = None) -> Interval:
    """Bounds of the last operation's result (or of number `last`), keeping no others than are still needed."""
    stop = len(network.ops) - 1 if last is None else last
    found: dict[int, Interval] = {0: start}
    for number in range(1, stop + 1):
        op = network.ops[number]
        inputs = [found[source] for source in op.inputs]
        done = [source for source in op.inputs if all(user <= number for user in network.users[source])]
        # Whether nobody else looks at these numbers, not even through another shape: their memory can be used again.
        reusable = bool(done) and isinstance(network.ops[done[0]], (Affine, Add, Relu))
        if isinstance(op, Relu) and reusable:
            found[number] = Interval(inputs[0].lower.relu_(), inputs[0].upper.relu_())
        else:
            found[number] = result(network, op, inputs, reusable=reusable)
        for source in done:
            found.pop(source, None)
    return found[stop]


def never_overflows(network: Network) -> bool:
    """True if bounds over all images stay far below overflow; if not, every step has to check."""
    if network.never_overflows is None:
        whole = torch.zeros((1, *network.ops[0].shape), dtype=torch.float64, device=network.device)
        network.never_overflows = True  # for this propagation
        found = propagate(network.to(torch.float64), Interval(whole, whole + 1))
        network.never_overflows = all(bool((interval.magnitude < HUGE).all()) for interval in found)
    return network.never_overflows


def result(network: Network, op: Op, inputs: list[Interval], *, reusable: bool = False) -> Interval:
    """`step` within a network; what may have overflowed is bounded by ±∞."""
    found = step(op, inputs, positive=network.positive(op.inputs[0]), reusable=reusable)
    if never_overflows(network):
        return found
    wide = ~(found.upper - found.lower < HUGE)
    return Interval(found.lower.masked_fill(wide, -math.inf), found.upper.masked_fill(wide, math.inf))


def step(op: Op, inputs: list[Interval], *, positive: bool = False, reusable: bool = False) -> Interval:
    """Bounds of an operation's result from those of what it takes.

    `positive` if these are 0 or more, `reusable` if they aren't needed any more and have no gradient: new memory costs as
    much as the arithmetic on it.
    """
    if isinstance(op, Affine):
        g = op.error(inputs[0].lower.dtype)
        # The bias's own part of the error; the radius's sum takes it in passing.
        middle, radius = op.spread(*enlarged(inputs[0], g, positive, reusable), op.bias_size * g + TINY)
        if reusable:
            upper = middle.add_(radius)
            return Interval(torch.sub(upper, radius, alpha=2, out=radius), upper)
        lower = middle - radius
        return Interval(lower, middle.add_(radius))
    if isinstance(op, Add):
        (a, b), unit = inputs, UNIT[inputs[0].lower.dtype] + UNIT[torch.float32]
        lower, upper = a.lower + b.lower, a.upper + b.upper
        return Interval(lower - lower.abs() * 2 * unit - TINY, upper + upper.abs() * 2 * unit + TINY)
    if isinstance(op, DistanceOp):
        return Interval(*op.interval(inputs[0].lower, inputs[0].upper))
    return Interval(op.apply(inputs[0].lower), op.apply(inputs[0].upper))


def enlarged(interval: Interval, g: float, positive: bool, reusable: bool = False) -> tuple[Tensor, Tensor]:
    """u + l and l − u − 2g·max(|l|, |u|): twice the centre, and minus twice the enlarged radius."""
    lower, upper = interval
    if positive and reusable:
        return lower + upper, lower.sub_(upper, alpha=1 + 2 * g)
    if positive:
        return lower + upper, torch.sub(lower, upper, alpha=1 + 2 * g)
    return lower + upper, (lower - upper).sub_(interval.magnitude, alpha=2 * g)


class Margins:
    """Lower bounds of f_y − f_c over a box, the last layer and the difference taken as one layer."""

    def __init__(self, network: Network) -> None:
        self.network = network
        last = network.ops[-1]
        self.last = last if isinstance(last, Dense) else None
        if self.last is not None:
            weight = self.last.weight
            self.spread = (weight[:, None] - weight).abs()  # (y, c, in)

    def __call__(self, start: Interval, y: Tensor) -> Tensor:
        """(N, classes), rounded down: f_y − f_c is at least this for the class y of each image; inf at y itself."""
        last = self.network.ops[-1].inputs[0] if self.last is not None else len(self.network.ops) - 1
        return self.of(logits(self.network, start, last=last), y)

    def of(self, before: Interval, y: Tensor) -> Tensor:
        """Lower bounds of f_y − f_c from bounds of the last layer's input, or of the logits if that layer isn't linear."""
        last, rows = self.last, torch.arange(len(y), device=y.device)
        if last is None:
            worst = before.lower[rows, y][:, None] - before.upper
            worst = worst - (before.magnitude[rows, y][:, None] + before.magnitude) * 4 * UNIT[worst.dtype]
        else:
            g = last.error(before.lower.dtype)
            positive = self.network.positive(last.inputs[0])
            size = before.upper if positive else before.magnitude
            # Twice the error of one logit, for that of two: their weights' difference is rounded as well.
            total, shrink = enlarged(before, 2 * g, positive)
            middle, radius = last.apply(total / 2), shrink / -2
            # What rounding can change in one logit, as executed and as computed here.
            error = last.absolute(size, last.bias_size).mul_(2 * g).add_(TINY)
            worst = middle[rows, y][:, None] - middle - error[rows, y][:, None] - error
            if self.network.classes <= ALL_PAIRS:
                pairs = radius @ self.spread.flatten(0, 1).T
                worst -= pairs.unflatten(1, self.spread.shape[:2])[rows, y]
            else:
                for label in y.unique().tolist():
                    at = y == label
                    worst[at] -= radius[at] @ self.spread[label].T
            worst -= worst.abs() * 8 * UNIT[worst.dtype]
        worst[rows, y] = math.inf
        return worst


def prepare(
    model: nn.Sequential, parameters: Any, *, shape: DataShape, norm: str, radii: list[float], precision: str
) -> RadiusSearch:
    """Interval bounds of the executed float32 function; see `jobs.verifiers`."""
    executed = SumsOfProducts(model, precision)
    margins = Margins(trace(executed, (shape.channels, shape.size, shape.size)))

    def proved(images: Tensor, labels: Tensor, radius: Tensor) -> Tensor:
        return (margins(box(images, radius), labels) > 0).all(dim=1)

    return RadiusSearch(executed, proved, radii, parameters, passes=PASSES)
