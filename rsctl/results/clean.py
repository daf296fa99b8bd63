"""Clean accuracy of the smoothed classifier, from the counts that certificates are made of."""

from __future__ import annotations

from typing import Any

import numpy as np

from rsctl.certificates import CountTable
from rsctl.certificates.cohen import predict
from rsctl.certificates.protocol import spendable


def clean_accuracy(table: CountTable, labels: Any, alpha: float) -> float:
    """Share of images whose label PREDICT (Cohen 2019, section 3.2) returns at `alpha`; NaN for a sequential table.

    Of splitting noise, whose counts are exact, the share whose label has most of them.
    """
    if table.counts.shape[1] < 2 or table.stopping != "fixed":
        # PREDICT keeps its level for a fixed n only.
        return float("nan")
    alpha = spendable(table, alpha)
    rows, counts = np.arange(len(labels)), table.counts
    own = counts[rows, labels].astype(np.int64)
    others = counts.copy()
    others[rows, labels] = -1
    second = others.max(axis=1)
    if table.noise == "splitting":
        return float((own > second).mean())  # all positions were counted
    # Hoeffding: far apart the two-sided test passes for certain; only the rest needs the incomplete beta function.
    lead = own - second
    clear = (lead > 0) & (lead * lead >= 2 * np.log(2 / alpha) * (own + second))
    close = (lead > 0) & ~clear
    hits = int(clear.sum()) + int((predict(counts[close], alpha) == labels[close]).sum())
    return hits / len(labels)
