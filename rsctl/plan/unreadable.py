"""Finds image files of a plan that can't be decoded, before anything is trained on them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rsctl.catalog.checked import known_defects
from rsctl.catalog.defects import grouped, suspects
from rsctl.catalog.folders import SPLITS, folder_root
from rsctl.catalog.listing import Listing, list_split
from rsctl.config.settings import Place
from rsctl.errors import InputError
from rsctl.plan.changed import dataset_name
from rsctl.plan.cost import done_images
from rsctl.plan.plan import Plan
from rsctl.store.layout import Store
from rsctl.text import counted


@dataclass(frozen=True)
class UnreadableFiles:
    """The files of one folder that can't be decoded."""

    name: str
    root: Path
    files: dict[str, str]
    """Path below the root → reason and remedy."""
    needed: frozenset[str]
    """Files that a task of the plan would open."""

    def message(self) -> str:
        """Format a paragraph with a line for each reason."""
        lines = "".join(f"\n  {line}" for line in grouped(self.root, self.files, most=20))
        return (
            f"{counted(len(self.files), 'file')} of {self.name} can't be read as "
            f"{'an image' if len(self.files) == 1 else 'images'}:{lines}\n  `rsctl data check '{self.root}'` opens every file of it."
        )


def require_readable(plan: Plan, place: Place) -> None:
    """Raise InputError with all such files if an unfinished task would open one of them."""
    for one in unreadable(plan, place):
        if one.needed:
            raise InputError(f"dataset: {one.message()}")


def unreadable(plan: Plan, place: Place) -> list[UnreadableFiles]:
    """Return defects detectable from names, sizes and first bytes of files, and those that `rsctl data check` found."""
    folders = {
        (one.dataset_parameters["path"], one.shape.class_names, one.dataset_parameters["white"], one.dataset_parameters["orientation"]): one
        for one in plan.sweep.points
        if one.train.dataset == "imagefolder"
    }  # fmt: skip
    found = []
    for (path, names, white, orientation), point in folders.items():
        root = folder_root(place.data, path)
        listed = {split: list_split(root, split, names, whole=False) for split in SPLITS}
        files: dict[str, str] = {}
        for listing in listed.values():
            files |= suspects(root, listing.files) | known_defects(root, listing, white, orientation)
        if files:
            needed = _needed(plan, Store(place.store), point.dataset_parameters, listed)
            name = dataset_name(plan.models[point.train.run_id])
            found.append(UnreadableFiles(name, root, files, frozenset(files).intersection(needed)))
    return found


def _needed(plan: Plan, store: Store, parameters: dict[str, object], listed: dict[str, Listing]) -> set[str]:
    """Return the files that unfinished tasks would open: all of the training split, and the images of tables."""
    needed: set[str] = set()
    for model in plan.models.values():
        there = store.model(model.spec.run_id).model_file.exists()
        if model.dataset_parameters == parameters and not (there or model.spec.file):
            needed.update(file for file, _, _ in listed["train"].files)
    for table in plan.tables.values():
        if table.dataset_parameters == parameters:
            files = listed["test" if table.spec.split == "test" else "train"].files
            done = done_images(store.table(table.spec))
            needed.update(files[image][0] for image in table.images if image not in done)
    return needed
