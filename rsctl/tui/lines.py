"""The line and the band of a curve, and its values at the radii of the sweep's table.

Imported on a background thread only.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

from rsctl.certificates import Certified
from rsctl.report.rows import CONFIDENCE, curve
from rsctl.tui.views import Curve

POINTS = 241


def certified_line(
    about: Curve, certified: Certified, labels: NDArray[np.int32], radii: list[float]
) -> Curve:
    """The curve with its numbers filled in."""
    correct = certified.predicted == labels
    columns = [(cell.radius, cell.accuracy, *cell.interval) for cell in curve(certified, labels, radii)]
    grid = _grid(about.norm, certified.radius, radii)
    ordered = np.sort(certified.radius[correct])
    return replace(
        _drawn(about, grid, len(ordered) - np.searchsorted(ordered, grid, side="left")),
        acr=float((correct * certified.radius).mean()),
        abstain_rate=float((certified.predicted == -1).mean()),
        cap_share=float(certified.at_cap.mean()),
        columns=tuple(columns),
    )


def attacked_line(about: Curve, distance: NDArray[np.float64], radii: list[float]) -> Curve:
    """The curve of the share of images without a known adversarial image within each distance."""
    ordered, asked = np.sort(distance), np.array([float(radius) for radius in radii])
    left = len(ordered) - np.searchsorted(ordered, asked, side="right")
    columns = zip(asked, left / len(ordered), *_interval(left, len(ordered)), strict=True)
    grid = _grid(about.norm, distance, radii)
    return replace(
        _drawn(about, grid, len(ordered) - np.searchsorted(ordered, grid, side="right")),
        columns=tuple((float(r), float(share), float(low), float(high)) for r, share, low, high in columns),
    )


def _grid(norm: str, found: NDArray[np.float64], radii: list[float]) -> NDArray[np.float64]:
    """The radii at which a curve is evaluated: from 0 to beyond the largest found."""
    largest, asked = float(found[np.isfinite(found)].max(initial=0.0)), max(map(float, radii))
    # Default columns cover several data sets and would squeeze the curve.
    return np.linspace(0.0, max(largest, asked) if norm == "l2" else 1.1 * largest or asked or 1.0, POINTS)


def _drawn(about: Curve, grid: NDArray[np.float64], counted: NDArray[np.int64]) -> Curve:
    """The curve with its line and band, from the number of images that remain at each radius."""
    low, high = _interval(counted, about.images)
    return replace(
        about,
        radii=tuple(grid.tolist()),
        accuracy=tuple((counted / about.images).tolist()),
        low=tuple(low.tolist()),
        high=tuple(high.tolist()),
    )


def _interval(successes: NDArray[np.int64], n: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Pointwise two-sided Clopper–Pearson at `CONFIDENCE`, as `rsctl.report.rows.Cell.interval`."""
    half = (1 - CONFIDENCE) / 2
    k = successes.astype(np.float64)
    low = np.where(k > 0, betaincinv(np.maximum(k, 1), n - k + 1, half), 0.0)
    high = np.where(k < n, betaincinv(k + 1, np.maximum(n - k, 1), 1 - half), 1.0)
    return low, high
