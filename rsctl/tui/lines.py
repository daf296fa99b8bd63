"""A measurement as a curve: its line and band, and its values at the radii of the sweep's table.

Imported on a background thread only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from rsctl.results.interval import clopper_pearson
from rsctl.results.measurement import Measurement
from rsctl.store.degenerate import warning_of
from rsctl.tui.views import Curve, RunView

POINTS = 241


def draw(found: Measurement, run: RunView, problems: Sequence[str]) -> Curve:
    """The curve of a measurement; of an attack the share of images without a known adversarial image within each distance."""
    attacked = found.kind == "attacks"
    # Where every noise position was counted, n and alpha mean nothing.
    n, alpha = (found.n or 0, found.alpha or 0.0) if found.estimated else (0, 0.0)
    about = Curve(
        run.key, run.title, found.certificate, found.guarantee, found.norm, alpha, n, found.images, found.planned,
        problems=tuple(problems), warning=warning_of(found.degenerate) or run.warning, attacked=attacked,
    )  # fmt: skip
    if not found.images:
        return about
    radii = found.certified.radius if found.distance is None or not attacked else found.distance
    ordered = np.sort(radii if attacked else radii[found.score >= 0])
    grid = _grid(found, radii)
    # An image has fallen at the distance of its adversarial image, and is certified at its radius.
    left = len(ordered) - np.searchsorted(ordered, grid, side="right" if attacked else "left")
    low, high = clopper_pearson(left, found.images)
    return replace(
        about,
        radii=tuple(grid.tolist()),
        accuracy=tuple((left / found.images).tolist()),
        low=tuple(low.tolist()),
        high=tuple(high.tolist()),
        acr=found.acr,
        # A verifier abstains nowhere.
        abstain_rate=float("nan") if found.kind == "verifications" else found.abstain_rate,
        cap_share=found.cap_share,
        columns=tuple((cell.radius, cell.accuracy, *cell.interval) for cell in found.cells),
    )


def _grid(found: Measurement, radii: NDArray[np.float64]) -> NDArray[np.float64]:
    """The radii at which a curve is evaluated: from 0 to beyond the largest found."""
    largest, asked = float(radii[np.isfinite(radii)].max(initial=0.0)), max(c.radius for c in found.cells)
    # Default columns cover several data sets and would squeeze the curve.
    end = max(largest, asked) if found.norm == "l2" else 1.1 * largest or asked or 1.0
    return np.linspace(0.0, end, POINTS)
