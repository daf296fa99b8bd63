"""A small ReLU network as matrices: what goes into every ReLU as a sum of matrices times earlier ReLUs' results.

Complete verification speaks of exact arithmetic, the certificate of the float32 function as it is executed. `rounding`
bounds what lies between them, so that "every margin of the exact network is larger than that" proves the executed one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from jobs.verifiers.ball import Ball
from jobs.verifiers.ibp import never_overflows
from jobs.verifiers.network import Network
from jobs.verifiers.operations import TINY, UNIT, Add, Affine, Input, Relu, Reshape
from rsctl.errors import InputError

Bounds = tuple[Tensor, Tensor]
"""Lower and upper of what goes into one ReLU layer, each (B, units), or (1, units) for all B subproblems."""


@dataclass(frozen=True)
class Layer:
    """z = Σ_j W_j v_j + b, with v_0 the image and v_j, j ≥ 1, the result of the j-th ReLU layer; float64."""

    weights: dict[int, Tensor]
    """j → W_j (units, size of v_j)."""
    bias: Tensor
    """(units,)"""


@dataclass(frozen=True)
class Matrices:
    """Layers in order: v_j = max(z_j, 0) for all but the last, whose z are the logits."""

    layers: list[Layer]
    """`layers[j - 1]` gives the inputs of ReLU layer j, so layer k takes v_0 … v_k."""
    network: Network
    """The network as operations in float64."""

    def rounding(self, ball: Ball, bounds: Sequence[Bounds]) -> Tensor:
        """(classes,): at most this lies between the executed float32 logits of an image in the ball and the exact ones.

        The running error of every operation (Higham 2002, section 3.3); `bounds` of what goes into each ReLU say how
        large its results are, and which are zero.
        """
        network, behind = self.network, iter(bounds)
        shape = (1, *network.ops[0].shape)
        sizes, errors = [ball.upper.view(shape)], [torch.zeros(shape, dtype=torch.float64)]
        for op in network.ops[1:]:
            size, error = sizes[op.inputs[0]], errors[op.inputs[0]]
            if isinstance(op, Affine):
                size = op.absolute(size) + op.bias_size
                error = op.absolute(error) + op.error(torch.float64) * size + TINY
                size = size + error
            elif isinstance(op, Add):
                size = size + sizes[op.inputs[1]]
                error = error + errors[op.inputs[1]] + 2 * UNIT[torch.float32] * size
            elif isinstance(op, Reshape):
                size, error = op.apply(size), op.apply(error)
            else:
                above = next(behind)[1].view(size.shape)
                error = torch.minimum(error, (above + error).clamp(min=0))
                size = torch.minimum(size, above.clamp(min=0) + error)
            sizes.append(size)
            errors.append(error)
        return errors[-1][0]


def relu_count(network: Network) -> int:
    """Number of units behind ReLUs."""
    return sum(torch.Size(network.ops[number].shape).numel() for number in network.relus)


def matrices(network: Network, *, most: int, verifier: str) -> Matrices:
    """The layers of a traced network.

    Raises InputError for more than `most` ReLUs, an operation that is neither affine nor a ReLU, and numbers that float32 may
    overflow at.
    """
    for op in network.ops:
        if not isinstance(op, (Input, Affine, Relu, Add, Reshape)):
            raise InputError(
                f"model: {verifier} solves networks of affine layers and ReLUs; '{op.name}' is a {type(op).__name__} layer. "
                "Verify it with ibp, or train a network of convolutions, linear layers and ReLUs."
            )
    count = relu_count(network)
    if count > most:
        raise InputError(
            f"model: it has {count} ReLUs, and {verifier} takes at most max_relus = {most}. Train a smaller model, raise "
            "max_relus (time grows exponentially in the ReLUs that an image leaves open), or verify it with crown or ibp."
        )
    if not never_overflows(network):
        raise InputError(
            f"model: float32 may overflow in it, for its weights are huge, and then {verifier}'s exact arithmetic doesn't describe "
            "the function as executed. Train it anew, or verify it with ibp."
        )
    network = network.to(torch.float64)
    # Of every operation's result: the matrices it takes of each v_j, as (columns, *shape), and its constant.
    parts = [
        ({0: _identity(network.ops[0].shape)}, torch.zeros((1, *network.ops[0].shape), dtype=torch.float64))
    ]
    layers = []
    for op in network.ops[1:]:
        columns, constant = parts[op.inputs[0]]
        if isinstance(op, Relu):
            layers.append(_layer(columns, constant))
            columns = {len(layers): _identity(op.shape)}
            constant = torch.zeros((1, *op.shape), dtype=torch.float64)
        elif isinstance(op, Add):
            others, other_constant = parts[op.inputs[1]]
            columns = {j: _sum(columns.get(j), others.get(j)) for j in columns.keys() | others.keys()}
            constant = constant + other_constant
        elif isinstance(op, Affine):
            columns = {j: op.linear(part) for j, part in columns.items()}
            constant = op.linear(constant) + op.bias
        else:
            columns = {j: op.apply(part) for j, part in columns.items()}
            constant = op.apply(constant)
        parts.append((columns, constant))
    return Matrices([*layers, _layer(*parts[-1])], network)


def _identity(shape: tuple[int, ...]) -> Tensor:
    size = torch.Size(shape).numel()
    return torch.eye(size, dtype=torch.float64).view(size, *shape)


def _layer(columns: dict[int, Tensor], constant: Tensor) -> Layer:
    return Layer({j: part.flatten(1).T.contiguous() for j, part in columns.items()}, constant.flatten())


def _sum(a: Tensor | None, b: Tensor | None) -> Tensor:
    present = [part for part in (a, b) if part is not None]
    return present[0] if len(present) == 1 else present[0] + present[1]
