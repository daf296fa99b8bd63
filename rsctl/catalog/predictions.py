"""A teacher's smoothed predictions on the training split, as a run of its own that several pupils read.

Planned between teacher and pupil, and not to be chosen as a method: what it computes are class shares, not a network.
It has no part in a pupil's identity, for a pupil that can't read them computes the very same.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from rsctl.catalog.declare import ModelTask, Parameters


class PredictionsParameters(Parameters):
    """Smoothed predictions."""

    draws: Annotated[int, Field(ge=1)] = 10_000
    """Noises per training image."""


PREDICTIONS = ModelTask(
    name="smoothed-predictions",
    title="A teacher's smoothed predictions",
    citation="Jeong, Kim, Shin: Confidence-aware Training of Smoothed Classifiers for Certified Robustness, AAAI 2023",
    revision=1,
    parameters=PredictionsParameters,
    implementation="jobs.training.teacher_predictions",
)
