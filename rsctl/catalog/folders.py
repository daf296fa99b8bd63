"""Contents of a folder of class folders, in a fixed order that both planes share."""

from __future__ import annotations

import hashlib
import json
import os
import random
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from rsctl.catalog.arrange import how_to
from rsctl.catalog.declare import DataShape
from rsctl.catalog.depth import check_range, deep_files, of_file, white_of
from rsctl.catalog.listing import alike, both, folders_in, list_split, sentence
from rsctl.catalog.orientation import Turned, turned_files
from rsctl.errors import InputError, unknown

SPLITS = ("train", "test")
Files = list[tuple[str, int, int]]
"""(path below root, label, bytes) of each."""
OTHER_CLASSES = " Remove them, or name in dataset.classes the classes to take."
UNCOMPRESSED = (".bmp", ".ppm", ".pgm", ".tif", ".tiff")
"""Formats whose files keep their length when the pixels change; TIFF may be one of them."""


def class_names(root: Path, parameters: Any) -> tuple[str, ...]:
    """The chosen class folders of `root/train`; their position is the label. Ordered as in `classes`, else by name."""
    train = root / "train"
    if not train.is_dir():
        raise InputError(
            f"dataset.path: {root} has no folder 'train'. Expected: train/<class>/<image> and test/<class>/<image>."
        )
    present = folders_in(train)
    names = [name for name in present if not name.startswith(".")]
    if parameters.classes:
        names = list(dict.fromkeys(_named(name, present) for name in parameters.classes))
        if len(names) < 2:
            raise InputError(
                f"dataset.classes: must have at least two classes, but it has only '{names[0]}'."
            )
        return tuple(names)
    twins = [name for name in names if alike(name) != name and alike(name) in names]
    if twins:
        raise InputError(
            f"dataset.path: {train} has two class folders '{alike(twins[0])}' that differ only in Unicode normalisation (macOS "
            "decomposes letters). Move their images into one folder."
        )
    if parameters.class_count:
        if parameters.class_count > len(names):
            raise InputError(
                f"dataset.class_count: is {parameters.class_count}, but {train} has {len(names)} class folders."
            )
        names = sorted(random.Random(parameters.class_seed).sample(names, parameters.class_count))
    if len(names) < 2:
        raise InputError(f"dataset.path: {train} has {len(names)} class folders; at least two are needed.")
    return tuple(names)


def _named(name: str, present: list[str]) -> str:
    """The class folder of this name, or of one that looks the same."""
    found = [one for one in present if one == name] or [one for one in present if alike(one) == alike(name)]
    if not found:
        raise InputError(f"dataset.classes: {unknown('class folder', name, present)}")
    return found[0]


def _no_other_class(root: Path, names: tuple[str, ...]) -> None:
    """Refuse test classes without training images: they would be silently dropped from the table."""
    test = root / "test"
    known = {alike(name) for name in names}
    present = folders_in(test) if test.is_dir() else []
    if others := [name for name in present if not name.startswith(".") and alike(name) not in known]:
        raise InputError(
            f"dataset: {test} has class folders that {root / 'train'} lacks: {', '.join(others[:5])}."
            + OTHER_CLASSES
        )


def image_files(root: Path, split: str, names: tuple[str, ...]) -> Files:
    """(path below root, label, bytes) of every image of a split, in the order of `Listing.files`."""
    return list_split(root, split, names, whole=False).files


def contents(root: Path, files: Iterable[tuple[str, int, int]]) -> list[str]:
    """SHA-256 of each file of an uncompressed format, in order: names and lengths don't identify such files."""
    return [of_file(_content, root / file) for file, _, _ in files if file.lower().endswith(UNCOMPRESSED)]


@lru_cache(maxsize=1 << 18)
def _content(path: Path, size: int, changed: int, inode: int) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def folder_root(data_root: Path, path: str) -> Path:
    """The absolute path of an `imagefolder`, from the path in a sweep file."""
    found = Path(os.path.expanduser(path))
    return found if found.is_absolute() else data_root / found


def turned_in(data_root: Path, path: str, names: tuple[str, ...]) -> Turned:
    """The files of an `imagefolder` with these classes whose EXIF entry rotates them."""
    root = folder_root(data_root, path)
    return turned_files(root, [file for split in SPLITS for file, _, _ in image_files(root, split, names)])


def grey_files(root: Path, parameters: Any, files: Mapping[str, Files]) -> dict[str, list[str]]:
    """Grey files of more than 8 bits, by split; raises InputError where the value of white is unknown."""
    deep = {split: deep_files(root, taken) for split, taken in files.items()}
    together = {file: depth for depths in deep.values() for file, depth in depths.items()}
    for file, depth in together.items():
        white_of(depth, parameters.white, root / file)
    if not parameters.white:
        check_range(root, together)
    return {
        split: [file for file, depth in depths.items() if not depth.colours] for split, depths in deep.items()
    }


def inspect_folder(data_root: Path, parameters: Any, *, values: bool = True) -> DataShape:
    """Class folders and image counts of an `imagefolder`, without decoding an image.

    A fingerprint, of each split and of both together, covers the files' names and lengths, the contents of uncompressed formats, and the list of
    files with more than 8 bits per channel (older versions read those as white). A JPEG, PNG or WebP file of the same name and length
    counts as the same image. Without `values` files are only counted. Raises InputError where a file's value of white is unknown.
    """
    root = folder_root(data_root, parameters.path)
    if not root.is_dir():
        here = Path(parameters.path).absolute()
        near = (
            f" {here} is one, but isn't in the data root: give its absolute path, or set `data` in rsctl.toml."
            if here.is_dir()
            else ""
        )
        raise InputError(
            f"dataset.path: {root} is not a folder. Put train/<class>/<image> and test/<class>/<image> below it.{near}"
        )
    whole = not (parameters.classes or parameters.class_count)
    try:
        names = class_names(root, parameters)
        if whole:
            _no_other_class(root, names)
        found = {split: list_split(root, split, names, whole=whole) for split in SPLITS}
    except InputError as error:
        if advice := how_to(root):
            raise InputError(f"{str(error).removesuffix(OTHER_CLASSES)} {advice}") from error
        raise
    files = {split: listing.files for split, listing in found.items()}
    counts = {split: len(taken) for split, taken in files.items()}
    shape = DataShape(3, parameters.size, len(names), counts, names, left_out=sentence(both(found.values())))
    if not values:
        return shape
    raw = {split: contents(root, taken) for split, taken in files.items()}
    grey = grey_files(root, parameters, files)

    def fingerprint(*splits: str) -> str:
        identified: dict[str, Any] = {split: files[split] for split in splits}
        if any(raw[split] for split in splits):
            identified["contents"] = {split: raw[split] for split in splits}
        if deep := sorted(file for split in splits for file in grey[split]):
            identified["deep"] = deep
        return hashlib.sha256(json.dumps(identified).encode()).hexdigest()

    return replace(
        shape,
        fingerprint=fingerprint(*SPLITS),
        deep=sum(map(len, grey.values())),
        splits={split: fingerprint(split) for split in SPLITS},
        nested=any(file.count("/") > 2 for taken in files.values() for file, _, _ in taken),
    )
