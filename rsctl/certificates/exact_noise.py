"""Gaussian noise in whole pixel values, drawn in integers: smoothing without a rounding error (Voráček, Hein 2023).

Randomized smoothing is proved for real numbers. In floating point x + ε is rounded by an amount that depends on x, which
a classifier may read off, and float32 draws follow the Gaussian law only roughly: torch's on a CPU never leave ±5.8σ. What
is certified with `arithmetic = "exact"` is f after its input is rounded to whole pixel values, y ↦ f(⌊255 y⌉/255). An
image of 8 bits lies on that grid, so the rounded x + ε is x plus the rounded ε: a whole number of pixel values M with
P(M = m) = Φ((m + ½)/s) − Φ((m − ½)/s), s = 255σ. M is drawn by a uniform integer of `BITS` bits; the sum is exact.

What remains of the distance to the theorem is bounded and paid for out of α: thresholds are rounded to `BITS` bits, so
all draws of an image together have the ideal joint law but for a total variation of `departure`, and no event is likelier
than under the ideal law by more than that. (The integers come from a pseudo-random generator, as everywhere.)
"""

from __future__ import annotations

import math
from decimal import Decimal, localcontext
from fractions import Fraction
from functools import cache

import numpy as np
from numpy.typing import NDArray

from rsctl.catalog.pixels import LEVELS
from rsctl.errors import RefusedError

BITS = 62
"""Bits of the uniform integer behind each coordinate."""
FAR = Decimal("9.2")
"""Φ(−FAR) < 2^−(BITS + 1): nothing beyond it has a probability that BITS bits could express."""
DIGITS = 50
PI = Decimal("3.14159265358979323846264338327950288419716939937510582")


def reach(sigma: float) -> int:
    """The largest |m| that is ever drawn."""
    return math.ceil(FAR * LEVELS * Decimal(sigma))


@cache
def weights(sigma: float) -> NDArray[np.int64]:
    """(2·reach + 1,) int64: 2^BITS · P(M = m) for m = −reach … reach. They sum to 2^BITS."""
    limit = reach(sigma)
    with localcontext() as context:
        context.prec = DIGITS
        scale = LEVELS * Decimal(sigma)
        above = [
            round(2**BITS * _from_the_middle((m + Decimal("0.5")) / scale)) for m in range(limit)
        ]  # 2^BITS · (Φ − ½)
    half = 2 ** (BITS - 1)
    below = np.array([half - part for part in reversed(above)] + [half + part for part in above], np.int64)
    return np.diff(below, prepend=np.int64(0), append=np.int64(2**BITS))


def _from_the_middle(t: Decimal) -> Decimal:
    """Φ(t) − ½ = φ(t) (t + t³/3 + t⁵/(3·5) + …) for t ≥ 0: no term cancels another. From `FAR` on ½, to BITS bits."""
    if t >= FAR:
        return Decimal("0.5")  # of a tiny σ the series has as many terms as t²
    term = total = t
    odd = 1
    while term > total.scaleb(-DIGITS):
        odd += 2
        term *= t * t / odd
        total += term
    return total * (-t * t / 2).exp() / (2 * PI).sqrt()


def departure(sigma: float, dimension: int, draws: int) -> Fraction:
    """No less than the total variation between `draws` drawn noises of `dimension` coordinates and the rounded Gaussian ones.

    Each of a coordinate's 2·reach thresholds is off by at most 2^−(BITS+1) (and by far less through 50 digits), as is
    either end: half the sum of what that changes is (2·reach + 2) · 2^−(BITS+1). Independent coordinates and draws add up.
    """
    return Fraction(dimension * draws * (2 * reach(sigma) + 2), 2 ** (BITS + 1))


def level_left(alpha: float, sigma: float, dimension: int, draws: int) -> float:
    """The failure probability that a certificate may still spend so that it fails with probability at most `alpha` in all.

    Raises RefusedError where nothing is left, or where d isn't known.
    """
    if dimension < 1:
        raise RefusedError(
            "This table was drawn in exact arithmetic and doesn't say how many coordinates an input has."
        )
    left = Fraction(alpha) - departure(sigma, dimension, draws)
    if left <= 0:
        raise RefusedError(
            f"alpha = {alpha} is no more than what {draws} draws in {dimension} coordinates may depart from the Gaussian law "
            f"({float(departure(sigma, dimension, draws)):.1e}). Take a larger alpha."
        )
    return math.nextafter(float(left), 0.0)
