"""Networks of plain convolutions and linear layers, of any depth: what their shapes tell, and what they leave open."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from torch import Tensor

from jobs.checkpoints.formats import Weights
from jobs.checkpoints.stored_normalisation import per_channel
from rsctl.catalog.declare import DataShape

GENERIC = ("convolutions", "mlp")
"""Architectures of any depth: without a depth in the weights there is nothing to compare."""
NOT_PLAIN = "the layers aren't numbered convolutions and linear layers with nothing between them but ReLUs"


def not_generic(name: str, weights: Mapping[str, Tensor], shape: DataShape) -> str:
    """Explain why these aren't the layers of a generic network, or how to give the strides that the weights leave open."""
    layers = [value for key, value in weights.items() if re.fullmatch(r"\d+\.weight", key)]
    if name != "convolutions" or {layer.dim() for layer in layers} != {2, 4}:
        return NOT_PLAIN
    convolutions = [layer for layer in layers if layer.dim() == 4]
    inputs = layers[len(convolutions)].shape[1]
    found = geometries(layers, shape.size, each=True)
    kernels = "x".join(map(str, sorted({layer.shape[-1] for layer in convolutions})))
    if not found:
        return f"no usual strides and paddings bring {shape.size}x{shape.size} images to the {inputs} inputs of its first linear layer"
    return (
        f"no one stride of its {len(convolutions)} convolutions (kernels {kernels}) brings {shape.size}x{shape.size} images to the "
        f"{inputs} inputs of its first linear layer; {len(found)} choices of a stride and padding for each do, and weights don't tell "
        f"which it was trained with. Give yours, such as --arch convolutions --set 'model.convolutions={found[0]}' (channels, kernel, "
        "stride, padding of each)"
    )


GEOMETRIES = {3: [(1, 1), (2, 1), (1, 0)], 4: [(2, 1), (2, 0), (1, 0)], 5: [(2, 2), (1, 2), (2, 0), (1, 0)]}
"""Kernel → strides and paddings that published networks have, the usual first."""


MOST_KERNELS = 6
"""Most kernel sizes in one network: each multiplies the combinations to try, and published networks have three at most."""


def geometries(layers: Sequence[Tensor], size: int, *, each: bool = False) -> list[list[list[int]]]:
    """Every [channels, kernel, stride, padding] per convolution with which the first linear layer has its inputs.

    Weights don't tell strides: convolutions of one kernel are taken to have the same one, unless `each` may have its own.
    """
    convolutions = [layer for layer in layers if layer.dim() == 4]
    inputs = layers[len(convolutions)].shape[1]
    kernels = [layer.shape[-1] for layer in convolutions]
    free = list(range(len(kernels))) if each else [kernels.index(kernel) for kernel in sorted(set(kernels))]
    found: list[list[list[int]]] = []
    if len(free) > MOST_KERNELS:
        return found
    for choice in product(
        *(GEOMETRIES.get(kernels[at], [(1, kernels[at] // 2), (1, 0), (2, 0)]) for at in free)
    ):
        chosen = dict(zip(free, choice, strict=True))
        of_each = [chosen[at if each else kernels.index(kernel)] for at, kernel in enumerate(kernels)]
        left = size
        for kernel, (stride, padding) in zip(kernels, of_each, strict=True):
            left = (left + 2 * padding - kernel) // stride + 1
        if left > 0 and len(convolutions[-1]) * left**2 == inputs:
            found.append(
                [[len(one), one.shape[-1], *how] for one, how in zip(convolutions, of_each, strict=True)]
            )
    return found


def assumptions(name: str, parameters: Mapping[str, Any], weights: Weights, shape: DataShape) -> list[str]:
    """Assumptions about the network that its weights don't show, one sentence each."""
    if name == "mlp":
        return ["a ReLU after each layer but the last"]
    if name != "convolutions":
        return []
    layers = [value for key, value in weights.state_dict.items() if key.endswith(".weight")]
    others = [one for one in geometries(layers, shape.size) if one != parameters["convolutions"]]
    each = ", ".join(
        f"{kernel}x{kernel} stride {stride} padding {padding}"
        for kernel, stride, padding in dict.fromkeys(tuple(one[1:]) for one in parameters["convolutions"])
    )
    said = f"a ReLU after each layer but the last; {each}, which the sizes of the layers "
    if not others:
        return [said + "allow"]
    return [
        f"{said}allow, as they do {' and '.join(map(str, others))} (--set 'model.convolutions={others[0]}')"
    ]


def further_layers(weights: Weights) -> list[str]:
    """Matrices beside a network that has nothing but its shapes to be known by, unless they are those of one like it."""
    part = weights.part
    own = {old: weights.state_dict[new].shape for new, old in weights.origin.items()}
    entries = next(values for path, values in weights.held.dictionaries if path == part.path)
    used = {part.prefix + key for key in own}
    return [
        name
        for name, value in entries.items()
        if value.dim() > 1 and name not in used and len(per_channel(value)) == 0
        and not any(name.endswith("." + key) and value.shape == size for key, size in own.items())
    ]  # fmt: skip
