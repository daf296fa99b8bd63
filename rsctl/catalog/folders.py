"""What lies in a folder of class folders, in one fixed order that both planes share."""

from __future__ import annotations

import hashlib
import json
import os
import random
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

from rsctl.catalog.declare import DataShape
from rsctl.catalog.depth import check_range, deep_files, of_file, white_of
from rsctl.catalog.orientation import Turned, turned_files
from rsctl.errors import InputError, unknown

EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".pgm", ".tif", ".tiff")
UNCOMPRESSED = (".bmp", ".ppm", ".pgm", ".tif", ".tiff")
"""Formats whose files keep their length when the pixels change; TIFF may be one of them."""


def class_names(root: Path, parameters: Any) -> tuple[str, ...]:
    """The chosen class folders of `root/train`; their position is the label. `classes` says their order, else it is that of the names."""
    train = root / "train"
    if not train.is_dir():
        raise InputError(
            f"dataset.path: {root} has no folder 'train'. Expected: train/<class>/<image> and test/<class>/<image>."
        )
    names = sorted(
        entry.name for entry in os.scandir(train) if entry.is_dir() and not entry.name.startswith(".")
    )
    if parameters.classes:
        for name in parameters.classes:
            if name not in names:
                raise InputError(f"dataset.classes: {unknown('class folder', name, names)}")
        names = list(dict.fromkeys(parameters.classes))
        if len(names) < 2:
            raise InputError(f"dataset.classes: names '{names[0]}' alone; at least two classes are needed.")
    elif parameters.class_count:
        if parameters.class_count > len(names):
            raise InputError(
                f"dataset.class_count: {parameters.class_count} asked for, {train} has {len(names)} class folders."
            )
        names = sorted(random.Random(parameters.class_seed).sample(names, parameters.class_count))
    if len(names) < 2:
        raise InputError(f"dataset.path: {train} has {len(names)} class folders; at least two are needed.")
    return tuple(names)


def _no_other_class(root: Path, names: tuple[str, ...]) -> None:
    """A test class that nothing was trained on would be left out without a word, and the table say `all of` the rest."""
    test = root / "test"
    there = (
        {entry.name for entry in os.scandir(test) if entry.is_dir() and not entry.name.startswith(".")}
        if test.is_dir()
        else set()
    )
    if others := sorted(there - set(names)):
        raise InputError(
            f"dataset: {test} has class folders that {root / 'train'} lacks: {', '.join(others[:5])}. "
            "Remove them, or say with dataset.classes which classes to take."
        )


def image_files(root: Path, split: str, names: tuple[str, ...]) -> list[tuple[str, int, int]]:
    """(path below root, label, bytes) of every image of a split: classes in order, files by name."""
    files: list[tuple[str, int, int]] = []
    for label, name in enumerate(names):
        folder = root / split / name
        if not folder.is_dir():
            raise InputError(f"dataset: the class folder {folder} is missing.")
        with os.scandir(folder) as entries:
            found = [
                (e.name, e.stat().st_size)
                for e in entries
                if e.is_file() and e.name.lower().endswith(EXTENSIONS)
            ]
        if not found:
            raise InputError(f"dataset: {folder} has no image file ({', '.join(EXTENSIONS)}).")
        files += [(f"{split}/{name}/{file}", label, size) for file, size in sorted(found)]
    return files


def contents(root: Path, files: Iterable[tuple[str, int, int]]) -> list[str]:
    """SHA-256 of each file of an uncompressed format, in order: names and lengths don't tell such files apart."""
    return [of_file(_content, root / file) for file, _, _ in files if file.lower().endswith(UNCOMPRESSED)]


@lru_cache(maxsize=1 << 18)
def _content(path: Path, size: int, changed: int, inode: int) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def folder_root(data_root: Path, path: str) -> Path:
    """Where an `imagefolder` lies that a sweep file calls so."""
    found = Path(os.path.expanduser(path))
    return found if found.is_absolute() else data_root / found


def turned_in(data_root: Path, path: str, names: tuple[str, ...]) -> Turned:
    """The files of an `imagefolder` with these classes that their EXIF entry turns."""
    root = folder_root(data_root, path)
    return turned_files(
        root, [file for split in ("train", "test") for file, _, _ in image_files(root, split, names)]
    )


def inspect_folder(data_root: Path, parameters: Any) -> DataShape:
    """Class folders and image counts of an `imagefolder`, without decoding an image.

    Its fingerprint is of the files' names and lengths, of what is in files of uncompressed formats, and of which have more
    than 8 bits a channel: those were read as white once. A JPEG, PNG or WebP file of the same name and the same number of
    bytes is taken for the same image. Raises InputError where nothing says which value of a file is white.
    """
    root = folder_root(data_root, parameters.path)
    if not root.is_dir():
        raise InputError(
            f"dataset.path: {root} is not a folder. Put train/<class>/<image> and test/<class>/<image> below it."
        )
    names = class_names(root, parameters)
    if not (parameters.classes or parameters.class_count):
        _no_other_class(root, names)
    files = {split: image_files(root, split, names) for split in ("train", "test")}
    counts = {split: len(found) for split, found in files.items()}
    raw = {split: contents(root, found) for split, found in files.items()}
    identified: dict[str, Any] = {**files, "contents": raw} if any(raw.values()) else {**files}
    deep = {file: depth for found in files.values() for file, depth in deep_files(root, found).items()}
    for file, depth in deep.items():
        white_of(depth, parameters.white, root / file)
    if not parameters.white:
        check_range(root, deep)
    if grey := sorted(file for file, depth in deep.items() if not depth.colours):
        identified["deep"] = grey
    fingerprint = hashlib.sha256(json.dumps(identified).encode()).hexdigest()
    return DataShape(3, parameters.size, len(names), counts, names, fingerprint, len(grey))
