"""The rows of a plan: the tables of its points."""

from __future__ import annotations

from dataclasses import dataclass

from rsctl.config.permutation import images_of
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


def row_of(resolved: Resolved, table: PointTable, split_count: int) -> PlannedRow:
    """A table of a point with its images, of the `split_count` images of its split."""
    settings = resolved.point.certification
    images = images_of(
        split_count,
        resolved.train.holdout,
        settings.seed,
        settings.skip,
        table.max_images,
        settings.start,
        settings.stop,
    )
    return PlannedRow(resolved, table, images, split_count)
