"""Turns radii that each fail with probability α into a bound on the certified accuracy of a whole set.

"Certified accuracy" of a table counts claims, of which each may be wrong with probability α. These two
bounds hold jointly, with probability 1 − ρ. They need a certificate of a fixed failure probability per
image and independent noise per image, which the noise keys of a table give. Tables that were counted on a CPU with
`revision` 2 or less have keys of 32 bits: of 10,000 images with 100,000 draws some twenty pairs share part of their noise.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betainc

from rsctl.certificates.bounds import lower
from rsctl.certificates.protocol import Floats, require_alpha
from rsctl.errors import RefusedError


def wrong_claims(images: int, alpha: float, rho: float) -> int:
    """The (1 − rho) quantile of Bin(images, alpha): no more images than these are wrong, with probability 1 − rho.

    The number of images whose claim is wrong is at most binomial, whatever radii are looked at: an image is
    wrong if its claimed radius exceeds its true one.
    """
    _check(images, alpha, rho)
    low, high = -1, images
    while high - low > 1:
        middle = (low + high) // 2
        # P(Bin ≤ q) ≥ 1 − ρ, as P(Bin > q) ≤ ρ, which keeps the digits of a small ρ.
        if betainc(middle + 1, images - middle, alpha) <= rho:
            high = middle
        else:
            low = middle
    return high


def accuracy_of_these_images(certified: ArrayLike, images: int, alpha: float, rho: float) -> Floats:
    """Lower bounds, at all radii at once, on the share of *these* images that are correct and robust.

    Parameters
    ----------
    certified
        Any shape: how many of the images are certified for the right class, one number per radius. All of
        them hold together with probability 1 − rho.
    images
        m, all images of the table, abstained ones too.
    alpha
        Failure probability per image that is proved: `times_alpha` · alpha of the certificate.

    Returns
    -------
    (certified − q)/m, at least 0, q of `wrong_claims`.
    """
    _check(images, alpha, rho)
    right = np.maximum(_counts(certified, images) - wrong_claims(images, alpha, rho), 0)
    return np.asarray(right / images, np.float64)


def accuracy_of_the_population(certified: ArrayLike, images: int, alpha: float, rho: float) -> Floats:
    """Lower bound on the accuracy at *one* radius, fixed beforehand, over the population the images come from.

    The images must be a random sample of it. An image counts with probability at most P(robust) + α, so
    lo(certified, images, rho) − α, at least 0. Several radii: share rho between them.
    """
    _check(images, alpha, rho)
    return np.maximum(lower(_counts(certified, images), images, rho) - alpha, 0.0)


def _counts(certified: ArrayLike, images: int) -> NDArray[np.int64]:
    counts = np.asarray(certified)
    if not np.issubdtype(counts.dtype, np.integer) or (counts < 0).any() or (counts > images).any():
        raise RefusedError(f"certified images must be whole numbers from 0 to {images}, not {certified!r}.")
    return counts.astype(np.int64)


def _check(images: int, alpha: float, rho: float) -> None:
    require_alpha(alpha)
    if not 0 < rho < 1:
        raise RefusedError(f"rho = {rho} is outside (0, 1).")
    if images < 1:
        raise RefusedError("a bound on the accuracy of a set needs at least one image.")
