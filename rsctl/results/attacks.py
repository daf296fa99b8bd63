"""Distances of the nearest adversarial images that an attack found, as in Campbell 2020, tables 3 and 5."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rsctl.certificates import Certified
from rsctl.certificates.cascade import levels_text
from rsctl.config.runs import AttackSpec
from rsctl.results.accuracy import Cell
from rsctl.results.image_order import ImageOrder
from rsctl.results.measurement import Measurement
from rsctl.results.own_runs import about_run, training_verdict
from rsctl.results.rounding import arrows
from rsctl.store.rows import DistanceBounds
from rsctl.store.tables import StoredTable
from rsctl.text import counted


def measure_attack(
    table: StoredTable[DistanceBounds], order: ImageOrder, radii: Sequence[float] = ()
) -> Measurement:
    """Distances at which an attack succeeded; it certifies nothing, so that no image has a radius.

    The distance is 0 where the image itself is misclassified, inf where no adversarial image was found.
    """
    rows, spec = table.rows, attack_spec(table.run.spec)
    distance, size = rows.upper, len(rows)
    classifier = attacked_classifier(spec)
    about = about_run(table, order)
    if spec.before:
        # Of all levels: a certificate is about these networks alone.
        earlier = table.functions[0].get("before") if table.functions else None
        about["checkpoint"] = "+".join([*(earlier if isinstance(earlier, list) else []), table.model_sha256])
    return Measurement(
        certificate=spec.attack,
        guarantee=f"no guarantee: accuracy under attack of {classifier}, an upper bound on its certified accuracy on these images",
        norm=spec.norm,
        k=int(spec.parameters.get("topk", 1)),
        alpha=spec.alpha,
        labels=rows.label,
        certified=Certified(rows.predicted.astype(np.int64), np.zeros(size), np.zeros(size, bool)),
        distance=distance,
        cells=[Cell(float(r), int((distance > r).sum()), size) for r in radii],
        acr=math.nan,
        abstain_rate=math.nan,
        cap_share=math.nan,
        degenerate=training_verdict(table.run),
        **about,
    )


def attacked_classifier(spec: AttackSpec) -> str:
    """The classifier that an attack is about."""
    if spec.target == "cascade":
        levels = levels_text([*(one.sigma for one in spec.before), spec.sigma])
        return f"the cascade of {levels} (τ = {arrows([one.tau for one in spec.before])})"
    return {"base": "the base classifier", "smoothed": "the smoothed classifier"}[spec.target]


def attack_spec(spec: object) -> AttackSpec:
    assert isinstance(spec, AttackSpec)
    return spec


def distances(row: Measurement) -> NDArray[np.float64]:
    """Distances of the images that are classified correctly without perturbation."""
    assert row.distance is not None
    return row.distance[row.distance > 0]


def withstands(row: Measurement, radius: float) -> float:
    """Share of all images without a known adversarial image within the radius; an upper bound on robust accuracy."""
    assert row.distance is not None
    return float((row.distance > radius).mean()) if row.images else float("nan")


def median(row: Measurement) -> float:
    """Median over the images classified correctly, with inf for those without an adversarial image; NaN for no images."""
    right = distances(row)
    return float(np.sort(right)[(len(right) - 1) // 2]) if len(right) else float("nan")


def mean(row: Measurement) -> float:
    """Mean over the images classified correctly for which one was found; NaN for none."""
    found = distances(row)[np.isfinite(distances(row))]
    return float(found.mean()) if len(found) else float("nan")


def describe_attack(spec: AttackSpec) -> str:
    """The attack and its unusual settings."""
    smoothed = f", {counted(spec.noises, 'noise')}" if spec.target != "base" else ""
    topk = spec.parameters.get("topk", 1)
    return f"{spec.attack}{smoothed}" + (f", top-{topk} failure" if topk != 1 else "")
