"""Incomplete tables: the images that may be shown, and their possible bias."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from rsctl.store.tables import R, StoredTable


def finished_prefix(table: StoredTable[R], order: Sequence[int] | NDArray[np.int64]) -> StoredTable[R]:
    """The rows of the longest finished beginning of the order.

    Where every image takes equally long, it is a random sample of the planned ones, unlike all finished images. With
    sequential sampling or a verifier, it excludes a slow image: see `late_image`.
    """
    finished = np.isin(np.asarray(order, np.int64), table.rows.index)
    length = len(order) if finished.all() else int(finished.argmin())
    return table.restrict(order[:length])


def late_image(images: int, planned: int) -> float:
    """The most by which the first unfinished image may change the accuracy over the `images` before it, in [0, 1].

    No bound on the error of the whole: the beginning ends before a late image because it is late, and where late images
    are never certified it has only certified ones, however long it is; where certified ones take longest, none.
    """
    return 1 / (images + 1) if images < planned else 0.0


def about_late_images(rows: Iterable[tuple[int, int]]) -> str:
    """The note on incomplete tables (images, planned) of images that take differently long; else empty."""
    most = max((late_image(images, planned) for images, planned in rows if images), default=0.0)
    if not most:
        return ""
    return (
        "Easily decided images finish first, and the finished ones end before a slow one: with it, accuracy could be up to "
        f"{100 * most:.1f} points lower or higher. Until all are finished, it over-represents easily decided images."
    )
