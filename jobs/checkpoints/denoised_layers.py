"""The denoiser and the classifier in the weights of a network that has both."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from jobs.checkpoints.formats import Weights

DENOISED = "denoised"
"""The declared model of such networks."""
CHAIN, BLOCKS = r"denoiser\.dncnn\.\d+\.weight", r"denoiser\.dense_memory\.(\d+)\."


def has_denoiser(weights: Mapping[str, Tensor]) -> bool:
    """True for weights of a denoiser with others behind it."""
    return any(key.startswith("denoiser.") for key in weights)


def denoiser_in(weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """The denoiser's parameters that the shapes of its layers tell."""
    convolutions = [value for key, value in weights.items() if re.fullmatch(CHAIN, key) and value.dim() == 4]
    if len(convolutions) > 1:
        return {"denoiser": "dncnn", "width": len(convolutions[0]), "depth": len(convolutions)}
    blocks = {found[1] for key in weights if (found := re.match(BLOCKS, key))}
    first = weights.get("denoiser.feature_extractor.conv.weight")
    if first is None or not blocks:
        return {}
    units = {
        key.split(".")[4] for key in weights if key.startswith("denoiser.dense_memory.0.recursive_unit.")
    }
    return {"denoiser": "memnet", "width": len(first), "memories": len(blocks), "residuals": len(units)}


def classifier_in(weights: Weights) -> Weights:
    """The weights of the classifier alone."""
    inside = "classifier."
    own = {key.removeprefix(inside): key for key in weights.state_dict if key.startswith(inside)}
    return replace(
        weights,
        state_dict={short: weights.state_dict[key] for short, key in own.items()},
        origin={short: weights.origin[key] for short, key in own.items() if key in weights.origin},
    )
