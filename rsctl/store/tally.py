"""Arrays of labels and predictions as `rsctl.store.degenerate` judges them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rsctl.store.degenerate import Tally, Verdict, judge
from rsctl.store.rows import DistanceBounds, ImageRows, Rows


def tally(labels: NDArray[Any], predicted: NDArray[Any], classes: int = 0) -> Tally:
    """The tally of (N,) labels and predictions each, of so many classes or those that occur; abstentions (-1) don't count."""
    known = predicted >= 0
    labels, predicted = labels[known], predicted[known]
    each = (labels, predicted, labels[labels == predicted])
    classes = max(classes, *(1 + int(found.max(initial=-1)) for found in each))
    by_class = [np.bincount(found, minlength=classes).tolist() for found in each]
    return Tally(by_class[0], by_class[1], by_class[2], int((~known).sum()))


def shown_by(rows: ImageRows) -> Tally:
    """The tally of a table's classes: the most frequent one among the draws, or that of the clean image; else empty."""
    if isinstance(rows, Rows):
        drawn = rows.drawn
        return tally(
            rows.label[drawn], rows.counts[drawn].argmax(axis=1) if drawn.any() else rows.label[drawn]
        )
    return tally(rows.label, rows.predicted) if isinstance(rows, DistanceBounds) else Tally((), (), ())


def verdict(rows: ImageRows) -> Verdict | None:
    """The failure of the network that a table was made with."""
    return judge(shown_by(rows), training=False)
