"""The normalisation that a checkpoint stores beside its network, under the names that public code gives it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

MEAN = re.compile(
    r"_?(?:(?:new|image|img|input|pixel|data|channel|orig|norm)_)?(?:means?|mu)(?:_?(?:tensor|vec|values?))?"
)
DEVIATIONS: tuple[tuple[str, Callable[[float], float]], ...] = (
    (r"(?:stds?|sds?|sigmas?|stddev|std_?dev|stdev|scale)", lambda value: value),
    (r"log_?(?:sig|sigma|stds?|sds?)", math.exp),
    (r"(?:inv|i|r|recip)_?(?:stds?|sds?|sigma)", lambda value: 1 / value),
    (r"(?:vars?|variance)", math.sqrt),
)
"""Names of what images are divided by, and how it follows from the values: rs4a keeps logarithms, others reciprocals."""
AFFIXES = r"_?(?:(?:new|image|img|input|pixel|data|channel|orig|norm)_)?(?:{})(?:_?(?:tensor|vec|values?))?"

Reading = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and standard deviation, per channel or of all, of images in [0, 1]."""


@dataclass(frozen=True)
class Stored:
    """One normalisation."""

    names: tuple[str, ...]
    """Its entries in the file."""
    readings: tuple[Reading, ...]
    """The likeliest first; further ones where its values don't tell."""
    why: str

    @property
    def texts(self) -> list[str]:
        """Readings in the form of `method.normalisation`."""
        return [
            "/".join(",".join(str(np.float32(value)) for value in one) for one in reading)
            for reading in self.readings
        ]

    @property
    def text(self) -> str:
        """The likeliest of them."""
        return self.texts[0]


def stored_in(values: Mapping[str, Any], near: str, used: Iterable[str]) -> list[Stored]:
    """Normalisations among the named values of a file, nearest to the network at `near` first; `used` belong to the network itself."""
    beside: dict[str, dict[str, Any]] = {}
    inside = set(used)
    for name, value in values.items():
        parent, _, leaf = name.rpartition(".")
        if name not in inside:
            beside.setdefault(parent, {})[leaf] = value
    found = []
    for parent, leaves in beside.items():
        mean = next((leaf for leaf in leaves if MEAN.fullmatch(leaf.lower())), None)
        if mean is None:
            continue
        for pattern, function in DEVIATIONS:
            wanted = re.compile(AFFIXES.format(pattern))
            deviation = next((leaf for leaf in leaves if wanted.fullmatch(leaf.lower())), None)
            if deviation is not None:
                names = tuple(f"{parent}.{leaf}" if parent else leaf for leaf in (mean, deviation))
                one = _read(names, leaves[mean], leaves[deviation], function)
                found += [one] if one else []
                break
    return sorted(found, key=lambda one: -_common(one.names[0], near))


def _common(one: str, other: str) -> int:
    """Steps that two dotted names begin with together."""
    pairs = zip(one.split("."), other.split("."), strict=False)
    return next((at for at, (a, b) in enumerate(pairs) if a != b), len(other.split(".")))


def _read(
    names: tuple[str, ...], mean: Any, deviation: Any, function: Callable[[float], float]
) -> Stored | None:
    means, deviations = per_channel(mean), per_channel(deviation)
    if not means or not deviations or len({len(means), len(deviations)} - {1}) > 1:
        return None
    try:
        deviations = tuple(function(value) for value in deviations)
    except (ValueError, ZeroDivisionError, OverflowError):
        return None
    if not all(map(math.isfinite, (*means, *deviations))) or min(deviations) <= 0:
        return None
    length = max(len(means), len(deviations))
    means, deviations = (one * length if len(one) == 1 else one for one in (means, deviations))
    why = f"the file stores it ({', '.join(names)})"
    straight, of_255 = (means, deviations), (_times(means, 1 / 255), _times(deviations, 1 / 255))
    if max(means) > 1:
        return Stored(names, (of_255,), f"{why}, for images in [0, 255]: divided by 255 here")
    if max(deviations) > 1:
        inverse = (means, tuple(1 / value for value in deviations))
        # Images that vary by less than a twentieth would be dull.
        likely = (of_255, inverse, straight) if max(deviations) > 20 else (inverse, straight, of_255)
        what = "for images in [0, 255]" if likely[0] is of_255 else "for factors"
        return Stored(
            names,
            likely,
            f"{why}; no image in [0, 1] varies by more than 0.5, so its values are taken {what}",
        )
    return Stored(names, (straight,), why)


def _times(values: tuple[float, ...], factor: float) -> tuple[float, ...]:
    return tuple(value * factor for value in values)


def per_channel(value: Any) -> tuple[float, ...]:
    """A value per channel, or one for all; empty where it is something else."""
    if isinstance(value, Tensor):
        value = value.detach().double()
        if value.dim() > 1 and value.numel() > 4:  # an image, which may be of one colour
            flat = value.flatten(-2)
            if not bool((flat == flat[..., :1]).all()):
                return ()
            value = flat[..., 0]
        return (
            tuple(float(np.float32(one)) for one in value.flatten().tolist())
            if 0 < value.numel() <= 4
            else ()
        )
    if isinstance(value, (list, tuple)) and 0 < len(value) <= 4:
        return tuple(map(float, value)) if all(isinstance(one, (int, float)) for one in value) else ()
    return (float(value),) if isinstance(value, float) else ()
