"""The operations that bounds are carried through: a network is a list of them.

Bounds are about the float32 function as it is executed, so an operation knows how far that may be from exact
arithmetic: a sum of n products in any order, fused or not, with a bias, is off by at most γ(|W||x| + |b|),
γ = nu/(1 − nu) (Higham 2002, section 3.1). That holds for convolutions computed as sums of products, as on a CPU; not for
Winograd's or Fourier's. What is exact arithmetic's is inside these bounds too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.grad import conv2d_input

from rsctl.errors import InputError

UNIT = {torch.float32: 2.0**-24, torch.float64: 2.0**-53}
"""Unit roundoff u."""
HUGE = 1e30
"""Width from which an interval is useless: its sums may be 1e7 times as large, and overflow in the executed function."""
TINY = 1e-30
"""Added to every error: what may be lost where products underflow, or are flushed to zero."""


@dataclass(frozen=True)
class Op:
    """One operation; `inputs` are the numbers of the operations whose results it takes."""

    name: str
    """Name of the layer, for messages."""
    inputs: tuple[int, ...]
    shape: tuple[int, ...]
    """Shape of its result for one image."""

    def to(self, dtype: torch.dtype) -> Op:
        """The operation with its weights in this precision; they are float32 numbers, so nothing is rounded."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        changes: dict[str, Any] = {
            name: value.to(dtype) for name, value in values.items() if isinstance(value, Tensor)
        }
        return replace(self, **changes)

    def apply(self, *inputs: Tensor) -> Tensor:
        """Compute the result, (N, …) → (N, *shape)."""
        raise NotImplementedError


@dataclass(frozen=True)
class Input(Op):
    """The image, in [0, 1] space."""


@dataclass(frozen=True)
class Relu(Op):
    """max(x, 0), without error."""

    def apply(self, *inputs: Tensor) -> Tensor:
        return inputs[0].relu()


@dataclass(frozen=True)
class Add(Op):
    """x + y of two earlier results, with one rounding: a shortcut."""

    def apply(self, *inputs: Tensor) -> Tensor:
        return inputs[0] + inputs[1]


@dataclass(frozen=True)
class Affine(Op):
    """Wx + b. A subclass says how W is applied."""

    bias: Tensor
    """b, broadcastable to `shape`."""
    bias_size: Tensor
    """At least |b|: the sizes that were added up to b, whose rounding counts."""
    terms: int
    """n: products in one result's sum, and further roundings of the weights."""

    def linear(self, x: Tensor) -> Tensor:
        """Wx, (N, *in) → (N, *out)."""
        raise NotImplementedError

    def absolute(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """|W|x + bias."""
        raise NotImplementedError

    def transpose(self, a: Tensor) -> Tensor:
        """Wᵀa, (N, *out) → (N, *in)."""
        raise NotImplementedError

    def spread(self, total: Tensor, shrink: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """Centre W·total/2 + b and radius −|W|·shrink/2 + bias, for total = u + l and shrink = l − u.

        Halving is exact, so a sum and a difference are enough to make an interval ready.
        """
        return self.apply(total * 0.5), self.absolute(shrink * -0.5, bias)

    def apply(self, *inputs: Tensor) -> Tensor:
        return self.linear(inputs[0]) + self.bias

    def error(self, dtype: torch.dtype) -> float:
        """g: what to charge per |W|(|c| + r) + |b| so that bounds computed in `dtype` hold for the float32 function.

        With k = n + 4: one γ for the executed sum; at most three for ours, which are the centre's sum, the
        radius's, and making both of them from lower and upper and back (six roundings). 1.1 pays for 1/(1 − ku).
        """
        k = self.terms + 4
        if k * UNIT[torch.float32] > 0.02:
            raise InputError(
                f"{self.name}: sums {self.terms} products; float32 rounding can be bounded for at most 300,000."
            )
        return 1.1 * k * (UNIT[torch.float32] + 3 * UNIT[dtype])


@dataclass(frozen=True)
class Scale(Affine):
    """a·x + b per channel: the normalisation, a batch normalisation that isn't folded."""

    weight: Tensor

    def linear(self, x: Tensor) -> Tensor:
        return x * self.weight

    def absolute(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        return x * self.weight.abs() + (0 if bias is None else bias)

    def transpose(self, a: Tensor) -> Tensor:
        return a * self.weight


@dataclass(frozen=True)
class Dense(Affine):
    """A linear layer; weight (out, in)."""

    weight: Tensor
    magnitude: Tensor
    """|W|."""

    def linear(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.weight)

    def apply(self, *inputs: Tensor) -> Tensor:
        return functional.linear(inputs[0], self.weight, self.bias)

    def absolute(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        return functional.linear(x, self.magnitude, bias)

    @cached_property
    def halves(self) -> tuple[Tensor, Tensor]:
        return self.weight / 2, self.magnitude / -2

    def spread(self, total: Tensor, shrink: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        half, minus = self.halves
        return functional.linear(total, half, self.bias), functional.linear(shrink, minus, bias)

    def transpose(self, a: Tensor) -> Tensor:
        return a @ self.weight


@dataclass(frozen=True)
class Conv(Affine):
    """A convolution with zero padding, or average pooling; weight (out, in / groups, kernel, kernel), bias (out, 1, 1)."""

    weight: Tensor
    magnitude: Tensor
    """|W|."""
    size: tuple[int, ...]
    """Shape of one input."""
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int

    def _apply(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        bias = None if bias is None else bias.flatten()
        return functional.conv2d(x, weight, bias, self.stride, self.padding, self.dilation, self.groups)

    def linear(self, x: Tensor) -> Tensor:
        return self._apply(x, self.weight, None)

    def apply(self, *inputs: Tensor) -> Tensor:
        return self._apply(inputs[0], self.weight, self.bias)

    def absolute(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        return self._apply(x, self.magnitude, bias)

    @cached_property
    def halves(self) -> tuple[Tensor, Tensor]:
        layout = torch.channels_last
        return (self.weight / 2).contiguous(memory_format=layout), (self.magnitude / -2).contiguous(
            memory_format=layout
        )

    def spread(self, total: Tensor, shrink: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        half, minus = self.halves
        return self._apply(total, half, self.bias), self._apply(shrink, minus, bias)

    def transpose(self, a: Tensor) -> Tensor:
        size = (len(a), *self.size)
        image: Tensor = conv2d_input(
            size, self.weight, a, self.stride, self.padding, self.dilation, self.groups
        )
        return image


@dataclass(frozen=True)
class MaxMinOp(Op):
    """The larger and the smaller of each pair, without error; it grows with every input."""

    def apply(self, *inputs: Tensor) -> Tensor:
        a, b = inputs[0].chunk(2, dim=1)
        return torch.cat([torch.maximum(a, b), torch.minimum(a, b)], dim=1)


@dataclass(frozen=True)
class DistanceOp(Op):
    """‖x − w_j‖∞ + b_j for every unit j (Zhang et al. 2021)."""

    weight: Tensor
    bias: Tensor

    def apply(self, *inputs: Tensor) -> Tensor:
        return torch.cdist(inputs[0], self.weight, p=math.inf) + self.bias

    def reach(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """The least and the largest distance of points between these, each (N, in), from every w_j."""
        low, high = lower[:, None], upper[:, None]
        nearest = torch.maximum(low - self.weight, self.weight - high).clamp_(min=0).amax(dim=2)
        farthest = torch.maximum(self.weight - low, high - self.weight).amax(dim=2)
        return nearest, farthest

    def interval(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """Bounds from those of x: a difference and the bias are rounded once each, as executed and here."""
        nearest, farthest = self.reach(lower, upper)
        u = 4 * (UNIT[torch.float32] + UNIT[lower.dtype])
        return (
            nearest + self.bias - u * (nearest + self.bias.abs()) - TINY,
            farthest + self.bias + u * (farthest + self.bias.abs()) + TINY,
        )


@dataclass(frozen=True)
class Reshape(Op):
    """The numbers in another shape: flatten."""

    before: tuple[int, ...]
    """Shape of one input."""

    def apply(self, *inputs: Tensor) -> Tensor:
        return inputs[0].reshape(-1, *self.shape)
