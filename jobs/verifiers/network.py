"""A base classifier as a short list of operations that bounds can be carried through.

`trace` takes `nn.Sequential(Normalize, network)`, or the same as executed, and gives a `Network`: feed-forward,
convolutional and residual ReLU networks, batch normalisation in eval mode. Every operation is one of

    Input          the image, in [0, 1] space
    Scale          a·x + b per channel: the normalisation, a batch normalisation that isn't folded
    Conv, Dense    Wx + b; average pooling is a convolution too
    Reshape        flatten
    Relu           max(x, 0)
    Add            of two earlier results: a shortcut
    MaxMin         the larger and the smaller of two halves
    Distance       ‖x − w_j‖∞ + b_j (Zhang et al. 2021)

Bounds are about the float32 function as it is executed, so an operation knows how far that may be from exact
arithmetic: a sum of n products in any order, fused or not, with a bias, is off by at most γ(|W||x| + |b|),
γ = nu/(1 − nu) (Higham 2002, section 3.1). That holds for convolutions computed as sums of products, as on a CPU; not for
Winograd's or Fourier's. What is exact arithmetic's is inside these bounds too.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.proxy import TraceError
from torch.nn import functional

from jobs.models.distance import Distance as DistanceLayer
from jobs.models.distance import Negate
from jobs.models.lipschitz import MaxMin as MaxMinLayer
from jobs.models.normalize import Normalize
from rsctl.errors import InputError

UNIT = {torch.float32: 2.0**-24, torch.float64: 2.0**-53}
"""Unit roundoff u."""
HUGE = 1e30
"""An interval this wide says nothing: its sums may be 1e7 times as large, and overflow where the function is executed."""
TINY = 1e-30
"""Added to every error: what may be lost where products underflow, or are flushed to zero."""
SUPPORTED = (
    "convolution, linear, batch normalisation, ReLU, average pooling (to sizes that divide the image), flatten, "
    "dropout, shortcuts added, and by some verifiers ℓ∞-distance layers and MaxMin"
)


@dataclass(frozen=True)
class Op:
    """One operation; `inputs` are the numbers of the operations whose results it takes."""

    name: str
    """Of the layer, for messages."""
    inputs: tuple[int, ...]
    shape: tuple[int, ...]
    """Of its result for one image."""

    def to(self, dtype: torch.dtype) -> Op:
        """With its weights in this precision; they are float32 numbers, so nothing is rounded."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        changes = {name: value.to(dtype) for name, value in values.items() if isinstance(value, Tensor)}
        return replace(self, **changes)

    def apply(self, *inputs: Tensor) -> Tensor:
        """What it computes, (N, …) → (N, *shape)."""
        raise NotImplementedError


@dataclass(frozen=True)
class Input(Op):
    """The image."""


@dataclass(frozen=True)
class Relu(Op):
    """max(x, 0), without error."""

    def apply(self, *inputs: Tensor) -> Tensor:
        return inputs[0].relu()


@dataclass(frozen=True)
class Add(Op):
    """x + y, with one rounding."""

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
        radius's, and making both of them from lower and upper and back. 1.1 pays for 1/(1 − ku).
        """
        k = self.terms + 4
        if k * UNIT[torch.float32] > 0.02:
            raise InputError(
                f"{self.name}: sums {self.terms} products; float32 rounding can be bounded for at most 300,000."
            )
        return 1.1 * k * (UNIT[torch.float32] + 3 * UNIT[dtype])


@dataclass(frozen=True)
class Scale(Affine):
    """a·x + b per channel."""

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
    """A convolution with zero padding; weight (out, in / groups, kernel, kernel), bias (out, 1, 1)."""

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
        return nn.grad.conv2d_input(
            size, self.weight, a, self.stride, self.padding, self.dilation, self.groups
        )


@dataclass(frozen=True)
class MaxMin(Op):
    """The larger and the smaller of each pair, without error; it grows with every input."""

    def apply(self, *inputs: Tensor) -> Tensor:
        a, b = inputs[0].chunk(2, dim=1)
        return torch.cat([torch.maximum(a, b), torch.minimum(a, b)], dim=1)


@dataclass(frozen=True)
class Distance(Op):
    """‖x − w_j‖∞ + b_j for every unit j."""

    weight: Tensor
    bias: Tensor

    def apply(self, *inputs: Tensor) -> Tensor:
        return torch.cdist(inputs[0], self.weight, p=math.inf) + self.bias

    def interval(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """Bounds from those of x, each (N, in): a difference and the bias are rounded once each, as executed and here."""
        low, high = lower[:, None], upper[:, None]
        nearest = torch.maximum(low - self.weight, self.weight - high).clamp_(min=0).amax(dim=2)
        farthest = torch.maximum(self.weight - low, high - self.weight).amax(dim=2)
        u = 4 * (UNIT[torch.float32] + UNIT[lower.dtype])
        return (
            nearest + self.bias - u * (nearest + self.bias.abs()) - TINY,
            farthest + self.bias + u * (farthest + self.bias.abs()) + TINY,
        )


@dataclass(frozen=True)
class Reshape(Op):
    """The same numbers in another shape."""

    before: tuple[int, ...]
    """Shape of one input."""

    def apply(self, *inputs: Tensor) -> Tensor:
        return inputs[0].reshape(-1, *self.shape)

    def back(self, a: Tensor) -> Tensor:
        return a.reshape(-1, *self.before)


@dataclass
class Network:
    """Operations in the order they are computed: the first is the image, the last gives the logits."""

    ops: list[Op]
    dtype: torch.dtype = torch.float32
    roomy: bool | None = None
    """Whether no image of [0, 1] pixels comes near float32's largest number anywhere; None until `ibp.roomy` has looked."""
    users: dict[int, list[int]] = field(init=False)

    def __post_init__(self) -> None:
        self.users = {number: [] for number in range(len(self.ops))}
        for number, op in enumerate(self.ops):
            for source in op.inputs:
                self.users[source].append(number)

    @property
    def device(self) -> torch.device:
        return next(
            (op.bias.device for op in self.ops if isinstance(op, (Affine, Distance))), torch.device("cpu")
        )

    @property
    def relus(self) -> list[int]:
        """Numbers of the ReLU operations; what goes into each is the result of `ops[number].inputs[0]`."""
        return [number for number, op in enumerate(self.ops) if isinstance(op, Relu)]

    def positive(self, number: int) -> bool:
        """Whether a result, and every bound of it, is 0 or more: pixels and what a ReLU gives."""
        op = self.ops[number]
        return isinstance(op, (Input, Relu)) or (isinstance(op, Reshape) and self.positive(op.inputs[0]))

    @property
    def classes(self) -> int:
        return self.ops[-1].shape[0]

    def to(self, dtype: torch.dtype) -> Network:
        return Network([op.to(dtype) for op in self.ops], dtype, self.roomy)

    def results(self, x: Tensor) -> list[Tensor]:
        """Of every operation for images (N, C, H, W) in [0, 1]; the last are the logits (N, classes)."""
        found = [x.to(self.dtype)]
        for op in self.ops[1:]:
            found.append(op.apply(*(found[source] for source in op.inputs)))
        return found

    def __call__(self, x: Tensor) -> Tensor:
        """Logits (N, classes)."""
        return self.results(x)[-1]

    def dense(self, number: int) -> tuple[Tensor, Tensor]:
        """W (out, in) and b (out,) of an affine operation over flattened vectors; for small networks."""
        op = self.ops[number]
        if isinstance(op, Reshape):
            size = torch.Size(op.shape).numel()
            return torch.eye(size, dtype=self.dtype), torch.zeros(size, dtype=self.dtype)
        assert isinstance(op, Affine)
        size = torch.Size(self.ops[op.inputs[0]].shape).numel()
        columns = op.linear(torch.eye(size, dtype=self.dtype).view(size, *self.ops[op.inputs[0]].shape))
        bias = op.bias.expand(op.shape).reshape(-1)
        return columns.flatten(1).T.contiguous(), bias


def trace(model: nn.Module, shape: tuple[int, int, int], *, live: bool = False) -> Network:
    """The operations of a classifier of images of this shape (channels, height, width).

    With `live`, for training, the operations hold the model's own parameters, and gradients reach them; a batch
    normalisation then takes part as it would in eval mode.

    Parameters
    ----------
    model
        `nn.Sequential(Normalize, network)` in eval mode, or `jobs.models.load.Executed`, on any device.

    Raises
    ------
    InputError
        A layer, or a step of `forward`, that can't be bounded: named, with what is supported.
    """
    if not live and any(
        layer.training for layer in model.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)
    ):
        raise InputError("A network is verified in eval mode: call model.eval() first.")
    try:
        graph = _Tracer().trace(model)
    except TraceError as error:
        raise InputError(
            f"The model's forward depends on its input's values ({error}): it can't be verified. Supported: {SUPPORTED}."
        ) from error
    tensors = [*model.parameters(), *model.buffers()]
    builder = _Builder(shape, tensors[0].device if tensors else torch.device("cpu"), live)
    layers = dict(model.named_modules())
    for node in graph.nodes:
        builder.add(node, layers)
    network = Network(builder.ops, roomy=True if live else None)
    if len(network.ops[-1].shape) != 1:
        raise InputError(f"The model's last layer gives {network.ops[-1].shape}, not logits.")
    return network


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, (Normalize, DistanceLayer, MaxMinLayer, Negate)) or super().is_leaf_module(
            m, module_qualified_name
        )


class _Builder:
    """Turns nodes of a traced graph into operations, one after the other."""

    def __init__(self, shape: tuple[int, ...], device: torch.device, live: bool) -> None:
        self.device, self.live = device, live
        self.ops: list[Op] = [Input("image", (), tuple(shape))]
        self.numbers: dict[fx.Node, int] = {}

    def take(self, value: Tensor) -> Tensor:
        return value.float() if self.live else value.detach().float()

    def add(self, node: fx.Node, layers: dict[str, nn.Module]) -> None:
        if node.op == "placeholder":
            self.numbers[node] = 0
        elif node.op == "output":
            if self.numbers.get(node.args[0]) != len(self.ops) - 1:  # type: ignore[arg-type, call-overload]
                raise InputError("The model gives something else than the result of its last layer.")
        elif node.op == "call_module":
            layer = layers[str(node.target)]
            for kind, build in _LAYERS.items():
                if isinstance(layer, kind):
                    self.numbers[node] = build(self, str(node.target), layer, self.source(node))
                    return
            raise unsupported(f"the layer '{node.target}' is a {type(layer).__name__}")
        else:
            self.function(node)

    def function(self, node: fx.Node) -> None:
        """A function or a tensor's method in `forward`."""
        target = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
        if node.op == "call_method" and target == "size":
            return  # only to flatten, which looks at nothing else
        if node.target in (operator.add, operator.iadd, torch.add) or target in ("add", "add_"):
            sources = [self.numbers.get(arg) for arg in node.args[:2]]  # type: ignore[arg-type]
            if len(sources) == 2 and None not in sources and not node.kwargs:
                first, second = (int(source) for source in sources if source is not None)
                if self.ops[first].shape == self.ops[second].shape:
                    self.numbers[node] = self.append(Add(node.name, (first, second), self.ops[first].shape))
                    return
        elif target in ("relu", "relu_"):
            self.numbers[node] = self.relu(node.name, None, self.source(node))
            return
        elif target in ("flatten", "view", "reshape") and _flattens(target, node):
            self.numbers[node] = self.flatten(node.name, None, self.source(node))
            return
        elif target in ("contiguous", "detach"):
            self.numbers[node] = self.source(node)
            return
        raise unsupported(f"'{node.name}' in its forward is `{target or node.target}` of something else than one or two layers"
                          if target in ("add", "flatten", "view", "reshape") else f"'{node.name}' in its forward is `{target or node.target}`")  # fmt: skip

    def source(self, node: fx.Node) -> int:
        return self.numbers[node.args[0]]  # type: ignore[index]

    def append(self, op: Op) -> int:
        self.ops.append(op)
        return len(self.ops) - 1

    def normalize(self, name: str, layer: Normalize, source: int) -> int:
        weight = 1 / layer.std.double()
        bias = -layer.mean.double() * weight
        return self.scale(name, weight, bias, bias.abs(), source)

    def batch_norm(self, name: str, layer: nn.BatchNorm2d, source: int) -> int:
        if layer.running_mean is None or layer.running_var is None:
            raise unsupported(
                f"the layer '{name}' normalises by the batch it is in (track_running_stats=False)"
            )
        weight = (layer.running_var.double() + layer.eps).rsqrt()
        if layer.affine:
            weight = weight * self.take(layer.weight).double()
        shift = self.take(layer.bias).double() if layer.affine else torch.zeros_like(weight)
        moved = layer.running_mean.double() * weight
        form = (-1, *(1 for _ in self.ops[source].shape[1:]))
        return self.scale(
            name,
            weight.view(form),
            (shift - moved).view(form),
            (shift.abs() + moved.abs()).view(form),
            source,
        )

    def scale(self, name: str, weight: Tensor, bias: Tensor, size: Tensor, source: int) -> int:
        """Weights are rounded to float32 here, and computed otherwise where they are used: a few roundings each."""
        return self.append(
            Scale(name, (source,), self.ops[source].shape, bias.float(), size.float() * (1 + 1e-6), 8, weight.float())
        )  # fmt: skip

    def linear(self, name: str, layer: nn.Linear, source: int) -> int:
        if len(self.ops[source].shape) != 1:
            raise unsupported(
                f"the layer '{name}' is linear over the last of several dimensions: flatten before it"
            )
        weight = self.take(layer.weight)
        bias = weight.new_zeros(len(weight)) if layer.bias is None else self.take(layer.bias)
        return self.append(
            Dense(name, (source,), (len(weight),), bias, bias.abs(), weight.shape[1], weight, weight.abs())
        )  # fmt: skip

    def conv(self, name: str, layer: nn.Conv2d, source: int) -> int:
        if layer.padding_mode != "zeros" or isinstance(layer.padding, str):
            raise unsupported(
                f"the layer '{name}' pads with '{layer.padding_mode}' by '{layer.padding}', not with a number of zeros"
            )
        weight = self.take(layer.weight)
        bias = weight.new_zeros(len(weight)) if layer.bias is None else self.take(layer.bias)
        return self.convolution(
            name, weight, bias, source, layer.stride, layer.padding, layer.dilation, layer.groups
        )

    def convolution(
        self, name: str, weight: Tensor, bias: Tensor, source: int,
        stride: Any, padding: Any = (0, 0), dilation: Any = (1, 1), groups: int = 1,
    ) -> int:  # fmt: skip
        size = self.ops[source].shape
        bias = bias.view(-1, 1, 1)
        op = Conv(name, (source,), (), bias, bias.abs(), weight[0].numel(), weight, weight.abs(), size,
                  tuple(stride), tuple(padding), tuple(dilation), groups)  # fmt: skip
        with torch.no_grad():
            shape = op.linear(torch.zeros((1, *size), device=weight.device)).shape[1:]
        return self.append(replace(op, shape=tuple(shape)))

    def pool(self, name: str, source: int, kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int]) -> int:  # fmt: skip
        """The mean over windows: a convolution of every channel by itself."""
        channels = self.ops[source].shape[0]
        weight = torch.full((channels, 1, *kernel), 1 / (kernel[0] * kernel[1]), device=self.device)
        return self.convolution(
            name, weight, weight.new_zeros(channels), source, stride, padding, groups=channels
        )

    def average_pool(self, name: str, layer: nn.AvgPool2d, source: int) -> int:
        kernel, stride, padding = (_pair(value) for value in (layer.kernel_size, layer.stride, layer.padding))
        if layer.ceil_mode or layer.divisor_override or (any(padding) and not layer.count_include_pad):
            raise unsupported(
                f"the layer '{name}' pools with ceil_mode, divisor_override or without its padding"
            )
        return self.pool(name, source, kernel, stride, padding)

    def adaptive_pool(self, name: str, layer: nn.AdaptiveAvgPool2d, source: int) -> int:
        wanted = _pair(layer.output_size)
        size = self.ops[source].shape[1:]
        sides = [side if to is None else to for side, to in zip(size, wanted, strict=True)]
        if any(side % to for side, to in zip(size, sides, strict=True)):
            raise unsupported(f"the layer '{name}' pools {size} to {tuple(sides)}, which doesn't divide it")
        kernel = (size[0] // sides[0], size[1] // sides[1])
        return self.pool(name, source, kernel, kernel, (0, 0))

    def flatten(self, name: str, layer: nn.Flatten | None, source: int) -> int:
        if layer is not None and (layer.start_dim, layer.end_dim) != (1, -1):
            raise unsupported(f"the layer '{name}' flattens only some dimensions")
        before = self.ops[source].shape
        return self.append(Reshape(name, (source,), (torch.Size(before).numel(),), before))

    def distance(self, name: str, layer: DistanceLayer, source: int) -> int:
        bias = -layer.running_mean if layer.bias is None else self.take(layer.bias)
        weight = self.take(layer.weight)
        return self.append(Distance(name, (source,), (len(weight),), weight, bias.float()))

    def negate(self, name: str, layer: nn.Module, source: int) -> int:
        shape = self.ops[source].shape
        one = torch.ones(shape, device=self.device)
        return self.append(Scale(name, (source,), shape, 0 * one, 0 * one, 1, -one))

    def max_min(self, name: str, layer: nn.Module, source: int) -> int:
        return self.append(MaxMin(name, (source,), self.ops[source].shape))

    def relu(self, name: str, layer: nn.Module | None, source: int) -> int:
        return self.append(Relu(name, (source,), self.ops[source].shape))

    def nothing(self, name: str, layer: nn.Module, source: int) -> int:
        return source


_LAYERS: dict[Any, Callable[..., int]] = {
    Normalize: _Builder.normalize,
    DistanceLayer: _Builder.distance,
    MaxMinLayer: _Builder.max_min,
    Negate: _Builder.negate,
    nn.Conv2d: _Builder.conv,
    nn.Linear: _Builder.linear,
    nn.BatchNorm2d: _Builder.batch_norm,
    nn.BatchNorm1d: _Builder.batch_norm,
    nn.ReLU: _Builder.relu,
    nn.AvgPool2d: _Builder.average_pool,
    nn.AdaptiveAvgPool2d: _Builder.adaptive_pool,
    nn.Flatten: _Builder.flatten,
    nn.Dropout: _Builder.nothing,
    nn.Identity: _Builder.nothing,
}


def unsupported(what: str) -> InputError:
    return InputError(f"model: {what}, which no bound is known for here. Supported: {SUPPORTED}.")


def _flattens(target: str, node: fx.Node) -> bool:
    """Whether these arguments make a vector of every image."""
    further = [*node.args[1:], *node.kwargs.values()]
    if target == "flatten":
        return further == [1]
    return len(further) == 2 and further[1] == -1


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) or value is None else tuple(value)  # type: ignore[return-value]
