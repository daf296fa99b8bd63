"""Interval bound propagation (Gowal et al. 2018): every operation's result between two numbers, for all images of a box.

The bounds are in floating point and hold for the float32 function as executed: before a sum with weights W the
interval's radius is enlarged by g(|c| + r), c its centre, and g·|b| is added, which together are at least what
rounding can change, in the function and in the bounds (see `Affine.error`). So an interval costs two passes, as in
exact arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized, remove_parametrizations

from jobs.models.load import Executed
from jobs.verifiers import Verdicts
from jobs.verifiers.network import Network, trace
from jobs.verifiers.operations import HUGE, TINY, UNIT, Add, Affine, Dense, Distance, Op, Relu
from rsctl.catalog.declare import DataShape
from rsctl.errors import InputError

PASSES = 2.3
"""What interval bounds cost, in forward passes: two convolutions for one, and making their intervals."""
PIECE = 8
"""Images that are classified at once."""
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
        torch.nextafter(images - radius, down).clamp_(0, 1),
        torch.nextafter(images + radius, up).clamp_(0, 1),
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
        mine = bool(done) and isinstance(network.ops[done[0]], (Affine, Add, Relu))
        if isinstance(op, Relu) and mine:
            found[number] = Interval(inputs[0].lower.relu_(), inputs[0].upper.relu_())
        else:
            found[number] = result(network, op, inputs, mine=mine)
        for source in done:
            found.pop(source, None)
    return found[stop]


def roomy(network: Network) -> bool:
    """Whether bounds over all images stay far below what overflows; if not, every step has to look."""
    if network.roomy is None:
        whole = torch.zeros((1, *network.ops[0].shape), dtype=torch.float64, device=network.device)
        network.roomy = True  # for this propagation
        found = propagate(network.to(torch.float64), Interval(whole, whole + 1))
        network.roomy = all(bool((interval.magnitude < HUGE).all()) for interval in found)
    return network.roomy


def result(network: Network, op: Op, inputs: list[Interval], *, mine: bool = False) -> Interval:
    """`step` within a network; what may have overflowed is bounded by ±∞."""
    found = step(op, inputs, positive=network.positive(op.inputs[0]), mine=mine)
    if roomy(network):
        return found
    wide = ~(found.upper - found.lower < HUGE)
    return Interval(found.lower.masked_fill(wide, -math.inf), found.upper.masked_fill(wide, math.inf))


def step(op: Op, inputs: list[Interval], *, positive: bool = False, mine: bool = False) -> Interval:
    """Bounds of an operation's result from those of what it takes.

    `positive` if these are 0 or more, `mine` if they aren't needed any more and have no gradient: new memory costs as
    much as the arithmetic on it.
    """
    if isinstance(op, Affine):
        g = op.error(inputs[0].lower.dtype)
        # The bias's own part of the error; the radius's sum takes it in passing.
        middle, radius = op.spread(*enlarged(inputs[0], g, positive, mine), op.bias_size * g + TINY)
        if mine:
            upper = middle.add_(radius)
            return Interval(torch.sub(upper, radius, alpha=2, out=radius), upper)
        lower = middle - radius
        return Interval(lower, middle.add_(radius))
    if isinstance(op, Add):
        (a, b), unit = inputs, UNIT[inputs[0].lower.dtype] + UNIT[torch.float32]
        lower, upper = a.lower + b.lower, a.upper + b.upper
        return Interval(lower - lower.abs() * 2 * unit - TINY, upper + upper.abs() * 2 * unit + TINY)
    if isinstance(op, Distance):
        return Interval(*op.interval(inputs[0].lower, inputs[0].upper))
    return Interval(op.apply(inputs[0].lower), op.apply(inputs[0].upper))


def enlarged(interval: Interval, g: float, positive: bool, mine: bool = False) -> tuple[Tensor, Tensor]:
    """u + l and l − u − 2g·max(|l|, |u|): twice the centre, and minus twice the enlarged radius."""
    lower, upper = interval
    if positive and mine:
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
        """The same from bounds of what goes into the last layer, or of the logits if that isn't linear."""
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


def largest(
    proved: Callable[[Tensor, Tensor], Tensor], count: int, radii: list[float],
    *, start: float, tolerance: float, device: torch.device | None = None,
) -> Tensor:  # fmt: skip
    """The largest radius in [0, 1] that is proved for each of `count` images, (count,) float64; 0 where none is.

    `proved(rows, radius)` says for some images, each with a radius, whether that is proved. Given `radii`, only those
    are tried, largest last; else a bisection begins at `start` and ends when it knows a radius to a relative `tolerance`.
    A radius is only returned if it was proved itself, so nothing relies on proofs being monotone.
    """
    best = torch.zeros(count, dtype=torch.float64, device=device)
    if radii:
        alive = torch.arange(count, device=device)
        for radius in sorted(set(radii)):
            if radius > 0 and len(alive):
                alive = alive[proved(alive, torch.full_like(best[alive], radius))]
                best[alive] = radius
        return best
    above = torch.full_like(best, math.inf)
    while True:
        # Double until a radius fails, or quarter until one is proved; then bisect.
        middle = torch.where(
            above.isinf(), (2 * best).clamp(start, 1.0), torch.where(best == 0, above / 4, (best + above) / 2)
        )
        known = torch.where(best == 0, above < start * 1e-4, (above - best) <= tolerance * best)
        rows = (~known & (best < 1)).nonzero()[:, 0]
        if not len(rows):
            return best
        done = proved(rows, middle[rows])
        best[rows[done]] = middle[rows[done]]
        above[rows[~done]] = middle[rows[~done]]


def prepare(
    model: nn.Module, parameters: Any, *, shape: DataShape, norm: str, radii: list[float], precision: str
) -> Prover:
    """Interval bounds of the executed float32 function; see `jobs.verifiers`."""
    executed = SumsOfProducts(model, precision)
    margins = Margins(trace(executed, (shape.channels, shape.size, shape.size)))

    def proved(images: Tensor, labels: Tensor, radius: Tensor) -> Tensor:
        return (margins(box(images, radius), labels) > 0).all(dim=1)

    return Prover(executed, proved, radii, parameters, passes=PASSES)


class SumsOfProducts(Executed):
    """The executed function, with every convolution on a GPU a sum of products too: cuDNN may take Winograd's instead."""

    def __init__(self, model: nn.Module, precision: str) -> None:
        if precision != "fp32":
            raise InputError(
                f"precision.certification: bounds are proved for float32 arithmetic, not for '{precision}'. Set it to 'fp32'."
            )
        # A weight that is computed from others at every call is computed once.
        for layer in model.modules():
            if is_parametrized(layer, "weight"):
                remove_parametrizations(layer, "weight")
        super().__init__(model, precision)

    def forward(self, x: Tensor) -> Tensor:
        with torch.backends.cudnn.flags(enabled=False):
            return super().forward(x)


class Prover:
    """Finds radii by asking `proved(images, labels, radius)`, (B,) bool, for `batch` images at a time.

    `passes` is what one such question costs, in forward passes. What is proved at the smallest radius is predicted, too: where
    the question is cheap and its answer mostly yes, it comes before the prediction, and that is spared.
    """

    def __init__(
        self, executed: nn.Module, proved: Callable[[Tensor, Tensor, Tensor], Tensor], radii: list[float], parameters: Any, *, passes: float = math.inf,
    ) -> None:  # fmt: skip
        self.executed, self.proved, self.radii, self.passes = executed, proved, radii, passes
        self.batch, self.tolerance = parameters.batch, parameters.tolerance
        self.smallest = min((radius for radius in radii if radius > 0), default=None)
        self.sure = self.wrong = 0  # images so far: proved at the smallest radius, and classified wrongly

    @torch.inference_mode()
    def verify(self, images: Tensor, labels: Tensor) -> Verdicts:
        """Images (N, C, H, W) float32 in [0, 1]; one that is classified wrongly gets radius 0."""
        rows = torch.arange(len(images), device=images.device)
        radius = torch.zeros(len(images), dtype=torch.float64, device=images.device)
        sure = None
        if self.smallest is not None and self.sure > self.passes * self.wrong:
            sure = self.ask(images, labels, rows, torch.full_like(radius, self.smallest))
        predicted = labels.clone()
        unsure = rows if sure is None else rows[~sure]
        predicted[unsure] = self.classes(images, unsure)
        right = rows[predicted == labels]

        def proved(some: Tensor, each: Tensor) -> Tensor:
            if sure is not None and bool((each == self.smallest).all()):
                return sure[right[some]]
            return self.ask(images, labels, right[some], each)

        radius[right] = largest(
            proved, len(right), self.radii, start=1 / 255, tolerance=self.tolerance, device=images.device
        )
        self.sure += int((radius > 0).sum())
        self.wrong += len(images) - len(right)
        return Verdicts(predicted, radius, torch.full_like(radius, math.inf))

    def ask(self, images: Tensor, labels: Tensor, rows: Tensor, radius: Tensor) -> Tensor:
        """Which of some images are proved, each at its radius."""
        answers = []
        for some, each in zip(rows.split(self.batch), radius.split(self.batch), strict=True):
            padded, radii = filled(some, self.batch), filled(each, self.batch)
            whole = len(some) == len(images) == self.batch  # in order: nothing to pick out
            asked = (images, labels) if whole else (images[padded], labels[padded])
            with torch.backends.cudnn.flags(enabled=False):
                answers.append(self.proved(*asked, radii)[: len(some)])
        return torch.cat(answers)

    def classes(self, images: Tensor, rows: Tensor) -> Tensor:
        """What the executed function says of some images; a few at once, for it may be only few."""
        if not len(rows):
            return rows
        few = min(PIECE, self.batch)
        parts = [
            self.executed(images[filled(some, few)]).argmax(dim=1)[: len(some)] for some in rows.split(few)
        ]
        return torch.cat(parts)


def filled(values: Tensor, count: int) -> Tensor:
    """`count` of them, over and over: always as many at once, for a sum's order may change with the shape it is computed in."""
    return values[torch.arange(count, device=values.device) % len(values)]
