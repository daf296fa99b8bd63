"""Whole pixel values, in which images of 8 bits lie exactly."""

from __future__ import annotations

import math

LEVELS = 255
"""Whole pixel values are multiples of 1/LEVELS."""


def splitting_width(sigma: float) -> int:
    """Whole pixel values in an interval of splitting noise, and so the positions of its cuts: 2λ with λ = √3·sigma, as for uniform noise."""
    return max(1, round(2 * math.sqrt(3) * sigma * LEVELS))
