"""Certified accuracy by radius, with its interval, and the other shares of a set of images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rsctl.certificates import ABSTAIN, Certificate, Certified
from rsctl.results.interval import clopper_pearson


@dataclass(frozen=True)
class Cell:
    """Certified accuracy at one radius; for an attack, the share of images without an adversarial image within it."""

    radius: float
    certified: int
    images: int
    worst_class: float = float("nan")
    """The smallest certified accuracy among the classes of the images."""

    @property
    def accuracy(self) -> float:
        return self.certified / self.images if self.images else float("nan")

    @cached_property
    def interval(self) -> tuple[float, float]:
        """Interval over images drawn from the same population; (0, 1) without images."""
        low, high = clopper_pearson(self.certified, self.images)
        return float(low), float(high)


def curve(certified: Certified, labels: NDArray[Any], radii: Sequence[float]) -> list[Cell]:
    """Certified accuracy at each radius: correct and radius ≥ r; abstentions never count."""
    correct = certified.predicted == labels
    _, class_of, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    cells = []
    for r in radii:
        within = correct & (certified.radius >= r)
        hits = np.bincount(class_of[within], minlength=len(sizes))
        worst = float((hits / sizes).min()) if len(labels) else float("nan")
        cells.append(Cell(float(r), int(within.sum()), len(labels), worst))
    return cells


def share(hits: NDArray[Any]) -> float:
    """The share of images with a property; NaN without images."""
    return float(hits.mean()) if len(hits) else float("nan")


def scored(certified: Certified, labels: NDArray[Any], radii: Sequence[float]) -> dict[str, Any]:
    """Fields of a measurement that follow from the radii of its images."""
    right = certified.radius[certified.predicted == labels]
    return {
        "labels": labels,
        "certified": certified,
        "cells": curve(certified, labels, radii),
        "acr": math.fsum(right.tolist()) / len(labels) if len(labels) else float("nan"),
        "abstain_rate": share(certified.predicted == ABSTAIN),
        "cap_share": share(certified.at_cap),
    }


def failure_of(rule: Certificate, alpha: float | None) -> float | None:
    """Failure probability of a radius; None where it is no probability below 1."""
    failure = rule.guarantee.times_alpha * (alpha or 0.0)
    return failure if 0 < failure < 1 else None
