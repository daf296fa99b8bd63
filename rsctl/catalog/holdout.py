"""Training images set aside for tuning: `split = "val"`.

The draw must be the same for ever, on every machine and version, because results refer to positions. numpy
guarantees the raw stream of a bit generator (NEP 19) but not what its distributions make of it, and torch
guarantees neither; so images are sorted by raw Philox words.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rsctl.errors import InputError


def fixed_permutation(count: int, seed: int) -> NDArray[np.int64]:
    """A permutation of 0 … count - 1, int64 (count,), that depends on `seed` alone."""
    return np.argsort(np.random.Philox(key=seed).random_raw(count), kind="stable").astype(np.int64)


def split_train(count: int, share: float, seed: int = 0) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows to train on and rows held out (a `share` in (0, 1), rounded), int64 and ascending: together every row exactly once.

    Raises InputError for a share outside (0, 1), or so extreme that one part is empty.
    """
    if not 0 < share < 1:
        raise InputError(f"The held-out share is {share}; it must lie strictly between 0 and 1.")
    held_out = round(count * share)
    if not 0 < held_out < count:
        raise InputError(f"A held-out share of {share} of {count} images leaves one part empty.")
    order = fixed_permutation(count, seed)
    return np.sort(order[held_out:]), np.sort(order[:held_out])
