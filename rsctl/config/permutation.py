"""Orders that depend on a seed alone, not on a library's version or a machine."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rsctl.catalog.holdout import split_train


def permutation(count: int, seed: int, purpose: str = "images") -> NDArray[np.int64]:
    """A permutation of range(count), int64: the order of Philox's raw 64-bit words, keyed by purpose and seed."""
    digest = hashlib.blake2b(f"{purpose}:{seed}".encode(), digest_size=16).digest()
    words = np.random.Philox(key=int.from_bytes(digest, "little")).random_raw(count)
    return np.argsort(words, kind="stable").astype(np.int64)


def images_of(
    count: int, holdout: float, seed: int, skip: int, most: int, start: int = 0, stop: int = 0
) -> list[int]:
    """Positions in the split to certify, in the order in which they are drawn.

    `count` is the size of the split that positions refer to: the test split, or with `holdout` > 0 the
    training split, of which only the held-out rows are taken. Of these every `skip`-th one from `start` to before
    `stop` (0: the end). Every subset with the same seed is a prefix of one order (after these three), so raising `most`
    only adds images.
    """
    rows = split_train(count, holdout)[1] if holdout else np.arange(count)
    kept = rows[start : stop or None : skip]
    # The order is that of the whole split, so that another `skip` keeps it too.
    rank = np.empty(count, np.int64)
    rank[permutation(count, seed)] = np.arange(count)
    ordered = kept[np.argsort(rank[kept], kind="stable")]
    return [int(i) for i in (ordered[:most] if most else ordered)]


def chosen_by(
    selection: Mapping[str, Any], holdout: float, seed: int
) -> tuple[int, float, int, int, int, int, int]:
    """Arguments of `images_of`, from a selection recorded by a sweep; older versions had no start and stop."""
    start, stop = selection.get("start", 0), selection.get("stop", 0)
    return selection["of"], holdout, seed, selection["skip"], selection["max"], start, stop
