"""Turns a base classifier into operations: feed-forward, convolutional and residual ReLU networks, batch normalisation in eval
mode, and networks that are 1-Lipschitz by construction."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, fx, nn
from torch.fx.proxy import TraceError

from jobs.models.architectures.heat_resnet34 import Shift
from jobs.models.architectures.linf_distance import Distance as DistanceLayer
from jobs.models.architectures.linf_distance import Negate
from jobs.models.architectures.lipschitz_mlp import MaxMin as MaxMinLayer
from jobs.models.normalize import Normalize
from jobs.verifiers.network import SUPPORTED, Network, unsupported
from jobs.verifiers.operations import Add, Conv, Dense, DistanceOp, Input, MaxMinOp, Op, Relu, Reshape, Scale
from rsctl.errors import InputError


def trace(model: nn.Module, shape: tuple[int, ...], *, live: bool = False) -> Network:
    """The operations of a classifier of images of this shape (channels, height, width).

    With `live`, for training, the operations hold the model's own parameters, and gradients reach them; a batch
    normalisation then takes part as it would in eval mode.

    `model` is `nn.Sequential(Normalize, network)` in eval mode, or `jobs.models.load.Executed`, on any device. Raises InputError
    that names a layer, or a step of `forward`, that can't be bounded.
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
    first = tensors[0] if tensors else torch.empty(0)
    builder = _Builder(shape, first.device, live, first.dtype if live else torch.float32)
    layers = dict(model.named_modules())
    for node in graph.nodes:
        builder.add(node, layers)
    network = Network(builder.ops, builder.dtype)
    if len(network.ops[-1].shape) != 1:
        raise InputError(f"The model's last layer gives {network.ops[-1].shape}, not logits.")
    return network


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(
            m, (Normalize, DistanceLayer, MaxMinLayer, Negate, Shift)
        ) or super().is_leaf_module(m, module_qualified_name)


class _Builder:
    """Turns nodes of a traced graph into operations, one after the other."""

    def __init__(self, shape: tuple[int, ...], device: torch.device, live: bool, dtype: torch.dtype) -> None:
        self.device, self.live, self.dtype = device, live, dtype
        self.ops: list[Op] = [Input("image", (), tuple(shape))]
        self.numbers: dict[fx.Node, int] = {}

    def take(self, value: Tensor) -> Tensor:
        return value if self.live else value.detach().float()

    def weights(self, layer: nn.Linear | nn.Conv2d) -> tuple[Tensor, Tensor]:
        weight = self.take(layer.weight)
        return weight, weight.new_zeros(len(weight)) if layer.bias is None else self.take(layer.bias)

    def add(self, node: fx.Node, layers: dict[str, nn.Module]) -> None:
        if node.op == "placeholder":
            self.numbers[node] = 0
        elif node.op == "output":
            source = node.args[0]
            if not isinstance(source, fx.Node) or self.numbers.get(source) != len(self.ops) - 1:
                raise InputError("The model's forward must return the result of its last layer.")
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
            return  # only to flatten, which uses nothing else
        if node.target in (operator.add, operator.iadd, torch.add) or target in ("add", "add_"):
            sources = [self.numbers.get(arg) for arg in node.args[:2] if isinstance(arg, fx.Node)]
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
        shapes = (
            " of something else than one or two layers"
            if target in ("add", "flatten", "view", "reshape")
            else ""
        )
        raise unsupported(f"'{node.name}' in its forward is `{target or node.target}`{shapes}")

    def source(self, node: fx.Node) -> int:
        return self.numbers[cast(fx.Node, node.args[0])]

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
        offset = layer.running_mean.double() * weight
        form = (-1, *(1 for _ in self.ops[source].shape[1:]))
        bias, size = shift - offset, shift.abs() + offset.abs()
        return self.scale(name, weight.view(form), bias.view(form), size.view(form), source)

    def scale(self, name: str, weight: Tensor, bias: Tensor, size: Tensor, source: int) -> int:
        """Weights are rounded to float32 here, and computed otherwise where they are used: a few roundings each."""
        return self.append(
            Scale(name, (source,), self.ops[source].shape, bias.to(self.dtype), size.to(self.dtype) * (1 + 1e-6), 8, weight.to(self.dtype))
        )  # fmt: skip

    def linear(self, name: str, layer: nn.Linear, source: int) -> int:
        if len(self.ops[source].shape) != 1:
            raise unsupported(
                f"the layer '{name}' is linear over the last of several dimensions: flatten before it"
            )
        weight, bias = self.weights(layer)
        size = bias.abs()
        return self.append(
            Dense(name, (source,), size.shape, bias, size, weight.shape[1], weight, weight.abs())
        )

    def conv(self, name: str, layer: nn.Conv2d, source: int) -> int:
        if layer.padding_mode != "zeros" or isinstance(layer.padding, str):
            raise unsupported(
                f"the layer '{name}' pads with '{layer.padding_mode}' by '{layer.padding}', not with a number of zeros"
            )
        weight, bias = self.weights(layer)
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
            shape = op.linear(torch.zeros((1, *size), dtype=weight.dtype, device=weight.device)).shape[1:]
        return self.append(replace(op, shape=tuple(shape)))

    def pool(self, name: str, source: int, kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int]) -> int:  # fmt: skip
        """The mean over windows: a convolution of every channel by itself."""
        channels = self.ops[source].shape[0]
        weight = torch.full(
            (channels, 1, *kernel), 1 / (kernel[0] * kernel[1]), dtype=self.dtype, device=self.device
        )
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
        return self.append(DistanceOp(name, (source,), (len(weight),), weight, bias.to(self.dtype)))

    def negate(self, name: str, layer: nn.Module, source: int) -> int:
        shape = self.ops[source].shape
        one = torch.ones(shape, dtype=self.dtype, device=self.device)
        return self.append(Scale(name, (source,), shape, 0 * one, 0 * one, 1, -one))

    def shift(self, name: str, layer: Shift, source: int) -> int:
        bias = self.take(layer.bias).view(-1, *(1 for _ in self.ops[source].shape[1:]))
        return self.scale(name, torch.ones_like(bias), bias, bias.abs(), source)

    def max_min(self, name: str, layer: nn.Module, source: int) -> int:
        return self.append(MaxMinOp(name, (source,), self.ops[source].shape))

    def relu(self, name: str, layer: nn.Module | None, source: int) -> int:
        return self.append(Relu(name, (source,), self.ops[source].shape))

    def nothing(self, name: str, layer: nn.Module, source: int) -> int:
        return source


_LAYERS: dict[Any, Callable[..., int]] = {
    Normalize: _Builder.normalize,
    DistanceLayer: _Builder.distance,
    MaxMinLayer: _Builder.max_min,
    Negate: _Builder.negate,
    Shift: _Builder.shift,
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


def _flattens(target: str, node: fx.Node) -> bool:
    """True if these arguments make a vector of every image."""
    further = [*node.args[1:], *node.kwargs.values()]
    if target == "flatten":
        return further == [1]
    return len(further) == 2 and bool(further[1] == -1)


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) or value is None else tuple(value)
