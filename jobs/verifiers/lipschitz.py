"""Global Lipschitz certificates (Tsuzuku, Sato, Sugiyama 2018): margin over the Lipschitz constant of the margin.

A network's constant is at most the product of its layers' (a shortcut's sum is at most the sum of both ways'). Of the last
layer the rows themselves count: f_y − f_c changes by at most ‖w_y − w_c‖·L·‖δ‖, which is never more than √2·‖W‖·L·‖δ‖.

Power iteration gives spectral norms from below. Here they are bounded from above by Gram iteration (Delattre, Barthélemy,
Araujo, Allauzen 2023): σ(W)² = λ(WᵀW), λ(A) = λ(A²)^½, and λ(A) ≤ ‖A‖_F in the end. A convolution with zero padding
is a part of the circular one on an image enlarged by the kernel, so the largest of its symbols' norms over that
image's frequencies is a bound; one with a stride is one without on the image's phases. Every step pays for its rounding.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from jobs.verifiers import Verdicts
from jobs.verifiers.network import Network, unsupported
from jobs.verifiers.operations import (
    HUGE,
    TINY,
    UNIT,
    Add,
    Affine,
    Conv,
    Dense,
    DistanceOp,
    Input,
    MaxMinOp,
    Op,
    Relu,
    Reshape,
    Scale,
)
from jobs.verifiers.prover import SumsOfProducts
from jobs.verifiers.tracing import trace
from rsctl.catalog.declare import DataShape

U = UNIT[torch.float64]
UP = 1 + 64 * U
ITERATIONS = 12
"""After k of them the bound is at most rank^(1/2^(k+2)) too large: 0.04 % for rank 512."""


def gamma(n: int) -> float:
    """nu/(1 − nu) in float64, with room: the relative error of a sum of n products, complex ones too."""
    return 4 * (n + 4) * U


def spectral_norm(matrices: Tensor, error: Tensor | float = 0.0) -> float:
    """At least the largest singular value of all matrices (…, m, n) float64 or complex128, each off by at most `error`.

    `error` (…) is in the Frobenius norm.
    """
    if matrices.shape[-2] < matrices.shape[-1]:
        matrices = matrices.mH
    frobenius = torch.linalg.matrix_norm(matrices) * UP
    scale = frobenius.clamp(min=1e-150)
    gram = matrices / scale[..., None, None]
    # Dividing rounds every entry; the product's error is at most γ‖|A|ᵀ|A|‖ ≤ γ‖A‖_F², and ‖A‖_F ≤ 1.
    lost = [torch.full_like(scale, gamma(matrices.shape[-2]))]
    gram = gram.mH @ gram
    sizes = []
    for _ in range(ITERATIONS):
        size = torch.linalg.matrix_norm(gram) * UP
        exact = torch.exp2(torch.ceil(torch.log2(size.clamp(min=1e-150))))  # dividing by it rounds nothing
        gram = gram / exact[..., None, None]
        sizes.append(exact)
        lost.append(torch.full_like(scale, gamma(matrices.shape[-1])))
        gram = gram.mH @ gram
    bound = torch.linalg.matrix_norm(gram) * UP
    for size, slack in zip(reversed(sizes), reversed(lost[1:]), strict=True):
        bound = ((bound + slack) * UP).sqrt() * UP * size
    bound = ((bound + lost[0]) * UP).sqrt() * UP * scale + torch.as_tensor(error)
    return float(bound.max() * UP)


def convolution_norm(op: Conv) -> float:
    """At least the ℓ2 norm of a convolution with zero padding, of float64 weights."""
    out, inputs, height, width = op.weight.shape
    # Zeros between a dilated kernel's entries, and behind it up to whole strides.
    sides = [(size - 1) * dilation + 1 for size, dilation in zip((height, width), op.dilation, strict=True)]
    blocks = [-(-side // stride) for side, stride in zip(sides, op.stride, strict=True)]
    kernel = op.weight.new_zeros(out, inputs, *(b * s for b, s in zip(blocks, op.stride, strict=True)))
    kernel[:, :, : sides[0] : op.dilation[0], : sides[1] : op.dilation[1]] = op.weight
    # The pixels of one stride's window become channels: y(i) = Σ_q Σ_a w(qs + a)·x((i + q)s + a).
    phases = kernel.view(out, inputs, blocks[0], op.stride[0], blocks[1], op.stride[1])
    phases = phases.permute(0, 1, 3, 5, 2, 4).reshape(op.groups, out // op.groups, -1, blocks[0] * blocks[1])
    lengths = [
        -(-(size + 2 * padding) // stride) + block
        for size, padding, stride, block in zip(op.size[1:], op.padding, op.stride, blocks, strict=True)
    ]
    symbols = phases.to(torch.complex128) @ _waves(blocks, lengths).to(phases.device)
    error = torch.linalg.vector_norm(phases.abs().sum(dim=3), dim=(1, 2)) * gamma(blocks[0] * blocks[1] + 16)
    return spectral_norm(symbols.permute(0, 3, 1, 2), error[:, None])


def _waves(blocks: list[int], lengths: list[int]) -> Tensor:
    """exp(i(ω·q)) for every place q of a kernel and frequency ω, complex128 (places, frequencies)."""
    angles = []
    for block, length in zip(blocks, lengths, strict=True):
        place, frequency = torch.arange(block), torch.arange(length)
        # Reduced by whole turns in integers, so that the angle is rounded only once or twice.
        turns = (place[:, None] * frequency) % length
        angles.append(turns.double() * (2 * math.pi / length))
    # A real kernel's symbols at ω and −ω are conjugate: half of one axis is enough.
    half = angles[1][:, : lengths[1] // 2 + 1]
    angle = angles[0][:, None, :, None] + half[None, :, None, :]
    return torch.polar(torch.ones_like(angle), angle).reshape(blocks[0] * blocks[1], -1)


def layer_constant(op: Op, norm: str) -> float:
    """At least the Lipschitz constant of one operation, from and to the norm `l2` or `linf`; of an Add, of each side."""
    if isinstance(op, Scale):
        # Its weight was rounded to float32 from what is computed where it runs.
        return float(op.weight.abs().max()) * (1 + 2**-20)
    if isinstance(op, (Dense, Conv)):
        rows = op.magnitude.flatten(1)
        largest_row = float(rows.sum(dim=1).max()) * (1 + gamma(rows.shape[1]))
        if norm == "linf":
            return largest_row
        return spectral_norm(op.weight) if isinstance(op, Dense) else convolution_norm(op)
    if isinstance(op, DistanceOp):
        return 1.0 if norm == "linf" else math.sqrt(op.shape[0]) * UP
    if isinstance(op, (Input, Relu, Reshape, MaxMinOp, Add)):
        return 1.0
    raise unsupported(f"the layer '{op.name}' is {type(op).__name__}, with no Lipschitz constant")


class Constants:
    """Lipschitz constants of every operation's result as a function of the image, in `l2` or `linf`; `network` in float64."""

    def __init__(self, network: Network, norm: str) -> None:
        self.network, self.norm = network, norm
        self.layers = [layer_constant(op, norm) for op in network.ops]
        self.total = [1.0]
        for op, constant in zip(network.ops[1:], self.layers[1:], strict=True):
            self.total.append(sum(self.total[source] for source in op.inputs) * constant * UP)
        last = network.ops[-1]
        self.last = last if isinstance(last, Dense) else None
        if self.last is not None:
            apart = self.last.weight[:, None] - self.last.weight
            order = 2.0 if norm == "l2" else 1.0
            norms: Tensor = torch.linalg.vector_norm(apart, ord=order, dim=2)
            self.apart = norms * (1 + gamma(apart.shape[2]))

    def margins(self, y: Tensor) -> Tensor:
        """At least the constant of f_y − f_c, (N, classes); 0 at c = y."""
        if self.last is not None:
            return self.apart[y] * self.total[self.last.inputs[0]] * UP
        both = math.sqrt(2) * UP if self.norm == "l2" else 2.0
        constant = torch.full((len(y), self.network.classes), both * self.total[-1], dtype=torch.float64, device=y.device)  # fmt: skip
        return constant.scatter(1, y[:, None], 0.0)

    def size(self, value: Tensor) -> Tensor:
        """Norm of each image's result, (N, …) → (N,), rounded up."""
        flat = value.flatten(1)
        order = 2.0 if self.norm == "l2" else math.inf
        norms: Tensor = torch.linalg.vector_norm(flat, ord=order, dim=1)
        return norms * (1 + gamma(flat.shape[1]))

    def rounding(self, results: list[Tensor], radius: Tensor, y: Tensor) -> Tensor:
        """At most this lies between f_y − f_c as executed and in exact arithmetic, within `radius` of each image, (N, classes).

        `results` are those of the images themselves; within the radius |x_k| grows by L_k·r at most. The error of
        every operation is charged in the norm, and carried on by the constants.
        """
        network, last = self.network, len(self.network.ops) - 1
        errors = [torch.zeros_like(radius)]
        for number, op in enumerate(network.ops[1:], 1):
            error = (
                sum((errors[source] for source in op.inputs), torch.zeros_like(radius)) * self.layers[number]
            )
            if isinstance(op, (Affine, DistanceOp, Add)):
                own = self.own(op, [self.reach(results, errors, source, radius) for source in op.inputs])
                if number == last and self.last is not None:
                    weight = self.apart[y] * errors[op.inputs[0]][:, None]
                    return (weight + own + own.gather(1, y[:, None])) * UP
                error = error + self.size(own)
            errors.append(error * UP)
        return (2 * errors[last][:, None]).expand(-1, network.classes) * UP

    def reach(self, results: list[Tensor], errors: list[Tensor], number: int, radius: Tensor) -> Tensor:
        """At least |x_k| as executed within the radius, (N, *shape)."""
        more = self.total[number] * radius + errors[number]
        return (results[number].abs() + more.view(-1, *(1 for _ in results[number].shape[1:]))) * (1 + 1e-6)

    @staticmethod
    def own(op: Op, reach: list[Tensor]) -> Tensor:
        """Bound on the rounding error of each number in this operation's result."""
        if isinstance(op, Affine):
            sums = op.absolute(reach[0], op.bias_size)
            return torch.where(sums < HUGE, sums * op.error(torch.float64) * 1.01 + TINY, math.inf)
        u = 4 * (UNIT[torch.float32] + U)
        if isinstance(op, DistanceOp):
            farthest = reach[0].amax(dim=1, keepdim=True) + op.weight.abs().amax(dim=1)
            return u * (farthest + op.bias.abs()) + TINY
        return u * (reach[0] + reach[1]) + TINY


def prepare(
    model: nn.Sequential, parameters: Any, *, shape: DataShape, norm: str, radii: list[float], precision: str
) -> LipschitzProver:
    """The Lipschitz constants of the executed float32 function; see `jobs.verifiers`."""
    return LipschitzProver(SumsOfProducts(model, precision), shape, norm, parameters.batch)


class LipschitzProver:
    """Radius min over c of (f_y − f_c − rounding) / constant of f_y − f_c; the largest costs no more than a given one."""

    def __init__(self, executed: nn.Module, shape: DataShape, norm: str, batch: int) -> None:
        self.executed, self.batch = executed, batch
        self.network = trace(executed, (shape.channels, shape.size, shape.size)).to(torch.float64)
        with torch.no_grad():
            self.constants = Constants(self.network, norm)

    @torch.inference_mode()
    def verify(self, images: Tensor, labels: Tensor) -> Verdicts:
        """Images (N, C, H, W) float32 in [0, 1]; one that is classified wrongly gets radius 0."""
        predicted = self.executed(images).argmax(dim=1)
        with torch.backends.cudnn.flags(enabled=False):
            results = self.network.results(images)
            logits, y = results[-1], labels
            margin = logits.gather(1, y[:, None]) - logits
            constant = self.constants.margins(y)
            other = constant > 0
            first = torch.where(other, margin / constant, math.inf).amin(dim=1).clamp(0, 1e6)
            error = self.constants.rounding(results, first, y)
        # A class whose logit never comes nearer (constant 0) must only be behind already.
        left = margin - error
        behind = torch.where(other, left / constant.clamp(min=1e-300), torch.where(left > 0, math.inf, 0.0))
        behind = behind.scatter(1, y[:, None], math.inf)
        radius = (behind.amin(dim=1) * (1 - 64 * U)).clamp(min=0).minimum(first)
        # Overflow leaves no number, and proves nothing.
        radius = torch.where(predicted == labels, radius, 0.0).nan_to_num(0.0, posinf=math.inf)
        return Verdicts(predicted, radius, torch.full_like(radius, math.inf))
