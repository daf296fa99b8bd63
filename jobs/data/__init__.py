"""Data sets on the data plane: decoded images with labels, their augmentation, and explicit downloads."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rsctl.catalog import find, known_datasets
from rsctl.catalog.holdout import split_train
from rsctl.catalog.shape import parameters_of, shape_of
from rsctl.errors import InputError

if TYPE_CHECKING:
    from jobs.data.images import ArrayImages, FileImages, Images

__all__ = ["ArrayImages", "FileImages", "Images", "load", "require_planned", "split_train"]


def __getattr__(name: str) -> Any:
    # torch takes seconds to load, and whoever only opens files (`jobs.data.check`) needs none of it.
    if name in ("ArrayImages", "FileImages", "Images"):
        return getattr(importlib.import_module("jobs.data.images"), name)
    raise AttributeError(f"module 'jobs.data' has no attribute '{name}'")


def load(
    dataset: str,
    parameters: Mapping[str, Any],
    split: str,
    data_root: Path,
    *,
    positions: Sequence[int] | None = None,
) -> Images:
    """The images of a split, `train` or `test`, or those at some of its positions, in their order: only these are decoded and kept.

    Held-out training images (`val`) are positions of `train`, see `split_train`. Raises InputError for an unknown data set,
    split or parameter, a position outside the split, and for files that are missing, incomplete or unreadable.
    """
    declaration = find("data set", dataset, known_datasets())
    if split not in ("train", "test"):
        raise InputError(f"split: '{split}' is unknown. Allowed: test, train.")
    shape = shape_of(dataset, parameters, data_root)
    if positions is not None:
        for position in positions:
            if not 0 <= position < shape.counts[split]:
                raise InputError(
                    f"Position {position} is outside the {split} split of {dataset}, which has {shape.counts[split]} images."
                )
    read = importlib.import_module(declaration.module).read
    checked = parameters_of("dataset", declaration, parameters)
    from jobs.memory import sized_by  # imports torch

    advice = "Its images don't fit: give the task more memory (memory_gb under resources), or take a smaller dataset.size."
    with sized_by("dataset.name", dataset, advice):
        images: Images = read(declaration, checked, split, data_root, shape, positions)
    return images


def require_planned(images: Images, dataset: str, data: str) -> None:
    """Raises InputError unless these are the images that a run was planned for, by `data` of its spec: of a split, or of both."""
    if data and data not in (images.shape.fingerprint, *images.shape.splits.values()):
        raise InputError(
            f"{dataset}: the files, or the order of its classes, differ from those this run was planned for. Restore them, or submit "
            "again with --update to plan anew."
        )
