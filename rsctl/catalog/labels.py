"""Names of classes and of image files, for readers of a table; computations use numbers alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rsctl.catalog import known_datasets
from rsctl.catalog.folders import class_names, folder_root, image_files
from rsctl.catalog.listing import folders_in
from rsctl.catalog.shape import parameters_of
from rsctl.errors import UserError

FASHION = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")  # fmt: skip
CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CIFAR100 = """
    apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can
    castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin
    elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard
    lobster man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear
    pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark
    shrew skunk skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone
    television tiger tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm
"""
NAMES: Mapping[str, tuple[str, ...]] = {"fashion-mnist": FASHION, "cifar10": CIFAR10, "cifar100": tuple(CIFAR100.split())}  # fmt: skip
"""Names from the data sets' own files; a digit's name is its number."""


@dataclass(frozen=True)
class Labels:
    """Names by label, and image files by position in the split; empty where there are none, or they can't be read."""

    names: tuple[str, ...] = ()
    files: tuple[str, ...] = ()

    def name(self, label: int) -> str:
        """The class with its number, or the number alone."""
        return f"{label} {self.names[label]}" if 0 <= label < len(self.names) else str(label)

    def file(self, position: int) -> str:
        """The image's file below the data set's folder; empty where it has none."""
        return self.files[position] if 0 <= position < len(self.files) else ""


def labels_of(dataset: str, parameters: Mapping[str, Any], split: str, data_root: Path) -> Labels:
    """The names of a data set's classes, and of the files of a split (`val` consists of training images). Reads folders, no image."""
    if dataset in NAMES:
        return Labels(NAMES[dataset])
    if dataset not in ("imagefolder", "imagenet"):
        return Labels()
    part = "test" if split == "test" else "train"
    try:
        if dataset == "imagefolder":
            chosen: Any = parameters_of("dataset", known_datasets()[dataset], parameters)
            root = folder_root(data_root, chosen.path)
            names = class_names(root, chosen)
        else:
            root, part = data_root / "imagenet", "val" if part == "test" else "train"
            names = tuple(name for name in folders_in(root / part) if not name.startswith("."))
        return Labels(names, tuple(file for file, _, _ in image_files(root, part, names)))
    except (UserError, OSError):
        return Labels()
