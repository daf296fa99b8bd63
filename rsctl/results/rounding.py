"""Numbers and settings as text: conservative rounding, radii, marks behind a name."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

MISSING = "–"


def percent(share: float) -> str:
    """A share in percent with one decimal, rounded down: never in the method's favour."""
    # 1e-9 undoes the float error of k/N · 1000; the true value is a multiple of 1/N away from the next tenth.
    return MISSING if math.isnan(share) else f"{math.floor(share * 1000 + 1e-9) / 10:.1f}"


def percent_up(share: float) -> str:
    """A share in percent with one decimal, rounded up, for values that count against the method."""
    return MISSING if math.isnan(share) else f"{math.ceil(share * 1000 - 1e-9) / 10:.1f}"


def three_down(value: float) -> str:
    """Three decimals, rounded down."""
    return MISSING if math.isnan(value) else f"{math.floor(value * 1000 + 1e-9) / 1000:.3f}"


def three_up(value: float) -> str:
    """Three decimals, rounded up."""
    return MISSING if math.isnan(value) else f"{math.ceil(value * 1000 - 1e-9) / 1000:.3f}"


def marked(name: str, mark: str) -> str:
    """`gaussian (ONE CLASS)`, `gaussian (lr=0.1, ONE CLASS)`."""
    if not mark:
        return name
    return f"{name[:-1]}, {mark})" if name.endswith(")") else f"{name} ({mark})"


def plain(value: Any) -> str:
    """A setting's value as a person writes it."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def stated(value: Any) -> str:
    """A setting's value as a person writes it, or `not stated`."""
    return "not stated" if value is None else plain(value)


def arrows(values: Sequence[float]) -> str:
    """`0.25 → 0.5`; one number where all are equal."""
    return " → ".join(f"{value:g}" for value in (values if len(set(values)) > 1 else values[:1]))
