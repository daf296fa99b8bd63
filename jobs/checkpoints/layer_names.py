"""Names of layers in public code, and those of the declared architectures."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise

from torch import Tensor

from jobs.checkpoints.stored_normalisation import stored_in

HEADS = ("linear", "classifier", "head", "head.fc", "last_linear")
"""Names of the last layer in other public ResNet code."""


def canonical(weights: Mapping[str, Tensor]) -> dict[str, str]:
    """The names that the declared architectures give these entries → the entries' own."""
    return plain(weights) or wide(weights) or {_renamed(name): name for name in weights}


def plain(weights: Mapping[str, Tensor]) -> dict[str, str]:
    """The entries under the names of the models `convolutions` and `mlp`; empty where they aren't such a network's.

    Told by nothing but shapes and, where layers are numbered, by numbers: in nn.Sequential a pooling layer, or any other
    without weights, leaves a gap. A network whose convolutions have names could pool anywhere: not taken as a plain one.
    """
    beside = {name for one in stored_in(weights, "", ()) for name in one.names}
    numbered = [name for name in weights if name.partition(".")[0].isdigit() and name not in beside]
    entries = {name: weights[name] for name in numbered or weights if name not in beside}
    names = [name.removesuffix(".weight") for name in entries if name.endswith(".weight")]
    if not names or {*entries} != {f"{name}.{kind}" for name in names for kind in ("weight", "bias")}:
        return {}
    in_order = all(name.isdigit() for name in names)
    names = sorted(names, key=int) if in_order else names
    dimensions = [entries[f"{name}.weight"].dim() for name in names]
    count = dimensions.count(4)
    if (
        dimensions != [4] * count + [2] * (len(names) - count)
        or count == len(names)
        or (count and not in_order)
    ):
        return {}
    # A ReLU after each; a flattening between the kinds.
    places = [2 * at + (at >= count) for at in range(len(names))]
    if in_order and any(
        int(name) - place != int(names[0]) - places[0] for name, place in zip(names, places, strict=True)
    ):
        return {}
    widths = [tuple(entries[f"{name}.weight"].shape[:2]) for name in names]
    if any(after[1] != before[0] for at, (before, after) in enumerate(pairwise(widths), 1) if at != count):
        return {}
    return {
        f"{place}.{kind}": f"{name}.{kind}"
        for name, place in zip(names, places, strict=True)
        for kind in ("weight", "bias")
    }


def wide(weights: Mapping[str, Tensor]) -> dict[str, str]:
    """The entries under the names of the model `wideresnet`, where they are a wide ResNet's with stages of equal length."""
    blocks = {match[1] for name in weights if (match := re.match(r"(block[123]\.layer\.\d+)\.", name))}
    each, rest = divmod(len(blocks), 3)
    if not blocks or rest or blocks != {f"block{s}.layer.{b}" for s in (1, 2, 3) for b in range(each)}:
        return {}
    places = {f"block{s + 1}.layer.{b}": 1 + s * each + b for s in range(3) for b in range(each)}
    # Behind the last block come a normalisation, a ReLU, the mean over all pixels and a flattening.
    places |= {"conv1": 0, "bn1": 1 + len(blocks), "fc": 5 + len(blocks)}
    found = {}
    for name in weights:
        match = re.match(r"(block[123]\.layer\.\d+|conv1|bn1|fc)\.(.+)", name)
        ours = f"{places[match[1]]}.{match[2]}" if match else name
        found[ours.replace(".convShortcut.", ".shortcut.")] = name
    return found


def _renamed(name: str) -> str:
    if name[:1].isdigit():  # a wide ResNet's own
        return name
    head, _, kind = name.rpartition(".")
    if head in HEADS and kind in ("weight", "bias"):
        return f"fc.{kind}"
    return name.replace(".shortcut.", ".downsample.")
