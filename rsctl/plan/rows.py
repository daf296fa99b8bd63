"""The rows of a plan: the tables of its points."""

from __future__ import annotations

from dataclasses import dataclass

from rsctl.config.resolve import Resolved
from rsctl.config.tables import PointTable
from rsctl.store.plan_fields import ImagesRecord


@dataclass(frozen=True)
class PlannedRow:
    """One table of one point of the sweep: one row of its results."""

    resolved: Resolved
    table: PointTable
    images: list[int]
    split_count: int

    @property
    def selection(self) -> ImagesRecord:
        """The selection of its images, sufficient to repeat it."""
        settings = self.resolved.point.certification
        chosen = ImagesRecord(
            of=self.split_count, skip=settings.skip, max=self.table.max_images, count=len(self.images)
        )
        if settings.start:
            chosen["start"] = settings.start
        if settings.stop:
            chosen["stop"] = settings.stop
        return chosen
