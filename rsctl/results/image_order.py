"""The images of a run in the order in which they are sampled."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rsctl.config.permutation import chosen_by, images_of
from rsctl.config.runs import TableSpec
from rsctl.store.layout import Run
from rsctl.text import nth


@dataclass(frozen=True, eq=False)
class ImageOrder:
    """Positions in the data split, in sampling order."""

    positions: NDArray[np.int64]
    subset: str
    """Description of the choice of images."""

    def __len__(self) -> int:
        return len(self.positions)

    @cached_property
    def key(self) -> str:
        """Key that is equal for the same images in any order."""
        return hashlib.sha256(np.sort(self.positions).astype("<i8").tobytes()).hexdigest()[:16]


def requested_by(selection: Mapping[str, Any], spec: TableSpec) -> ImageOrder:
    """The images that a sweep requests of a run; runs with the same choice share one order."""
    return _order(describe_selection(selection), *chosen_by(selection, spec.holdout, spec.seed))


@lru_cache(maxsize=16)
def _order(subset: str, *choice: Any) -> ImageOrder:
    return ImageOrder(np.array(images_of(*choice), np.int64), subset)


def assigned_to(run: Run) -> ImageOrder:
    """All images that any sweep has requested of a run so far."""
    return ImageOrder(np.array(sorted(run.assigned_images()), np.int64), "all assigned")


def describe_selection(chosen: Mapping[str, Any]) -> str:
    """Description of a choice that a sweep recorded."""
    part = "all" if chosen["skip"] == 1 else f"every {nth(chosen['skip'])}"
    drawn = f"{chosen['count']} drawn by seed from " if chosen["max"] else ""
    first, stop = chosen.get("start", 0), chosen.get("stop", 0) or chosen["of"]
    between = f" from {first} to {stop - 1}," if "start" in chosen or "stop" in chosen else ""
    return f"{drawn}{part}{between} of {chosen['of']}"


def describe_subset(index: NDArray[np.int64]) -> str:
    """Description of the positions of a log."""
    if len(index) == 0:
        return "none"
    if len(index) == 1:
        return f"position {index[0]}"
    steps = np.unique(np.diff(np.sort(index)))
    span = f"{index.min()} to {index.max()}"
    if len(steps) == 1:
        return f"positions {span}" if steps[0] == 1 else f"every {nth(steps[0])} position, {span}"
    return f"positions {span}, irregular"
