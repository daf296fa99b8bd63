"""The points of a training that a mirror shows, and what a mirror has to offer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from rsctl.store.layout import Run
from rsctl.store.metrics import read_metrics

VALUES = ("loss", "accuracy", "lr", "images_per_second")


@dataclass(frozen=True)
class TrainingPoint:
    """One record of a training curve."""

    step: int
    time: float
    """Unix time."""
    values: Mapping[str, float]

    @property
    def tagged(self) -> dict[str, float]:
        """The values by their names in the mirror."""
        return {f"train/{key}": value for key, value in self.values.items()}


@dataclass(frozen=True)
class MirroredRun:
    """A training as a mirror shows it."""

    run: str
    sweep: str
    settings: Mapping[str, Any]
    points: Sequence[TrainingPoint]
    """All so far, by ascending step."""


class Mirror(Protocol):
    """Files of one tool."""

    def write(self, shown: MirroredRun) -> int:
        """Write the points that aren't there yet; returns their number. What is there is found in the tool's own files, so that
        a killed call leaves nothing that the next one would write twice.
        """


def points_of(run: Run) -> list[TrainingPoint]:
    """The training curve of a model by ascending step; of steps that were repeated after a restart, the later record."""
    found: list[TrainingPoint] = []
    for record in read_metrics(run.path):
        if "step" not in record:
            continue  # records of old versions have none
        while found and found[-1].step >= record["step"]:
            found.pop()
        values = {key: float(record[key]) for key in VALUES if key in record}
        found.append(TrainingPoint(record["step"], float(record.get("time", 0.0)), values))
    return found
