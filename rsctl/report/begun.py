"""The images of a table that is still being filled: which of them may be shown, and how far they mislead."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from rsctl.store.tables import R, Table


def finished_prefix(table: Table[R], order: Sequence[int] | NDArray[np.int64]) -> Table[R]:
    """The rows of the longest finished beginning of the order.

    Where every image takes equally long it is a random sample of the planned ones, unlike "whatever is in". Where an
    image takes as long as its question stays open, it leaves out one that takes long: see `overstatement`.
    """
    finished = np.isin(np.asarray(order, np.int64), table.rows.index)
    length = len(order) if finished.all() else int(finished.argmin())
    return table.restrict(order[:length])


def overstatement(images: int, planned: int) -> float:
    """How much too high the accuracy over a finished beginning of `images` images may be expected, in [0, 1].

    The first unfinished image is the place of a stopping time in the order: with it, the beginning would be a fair sample
    (Wald). Without it the share of certified images is larger by 1/(images + 1) at most, which is reached where the late
    image is the one that isn't certified.
    """
    return 1 / (images + 1) if images < planned else 0.0


def about_late_images(rows: Iterable[tuple[int, int]]) -> str:
    """The sentence on tables of (images, planned) whose images take as long as their question stays open; else empty."""
    most = max((overstatement(images, planned) for images, planned in rows if images), default=0.0)
    if not most:
        return ""
    return (
        "Images that are settled early finish first, so that what is in leaves out a late one: until all are in, accuracy may be "
        f"up to {100 * most:.1f} points too high."
    )
