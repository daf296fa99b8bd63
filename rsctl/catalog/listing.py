"""Image files of class folders, chosen as torchvision's ImageFolder does, and the files left out.

That is every file with one of nine endings, in folders below the class folder too and through links. The exceptions are folders
whose name begins with a dot, where editors and version control keep their own, and links that lead nowhere.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rsctl.errors import InputError
from rsctl.text import counted, path_text

EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".pgm", ".tif", ".tiff")
DEAD = "links that lead nowhere"
LOOP = "links to a folder above them"
NO_FILE = "pipes, sockets or devices"
NO_CLASS = "outside class folders"
HIDDEN = "in a folder whose name begins with a dot"
NO_ENDING = "without an extension"
ADVICE = {
    DEAD: "Fetch the files behind the links (`git annex get .`, `dvc pull`), or copy the folder with `cp -rL`.",
    LOOP: "Remove the links to folders above them.",
    NO_FILE: "Remove them.",
    NO_CLASS: "Move the images into the folder of their class.",
    HIDDEN: "Rename the folder; one of a class can also be named in dataset.classes.",
}
BY_ENDING = f"Images are recognised by extension ({', '.join(EXTENSIONS)}): rename files of these formats (.jfif to .jpg), convert the others."
NO_IMAGES = ("thumbs.db", "desktop.ini")
"""System files, ignored like those whose name begins with a dot."""


@dataclass
class Listing:
    """Files of one split, or of both."""

    files: list[tuple[str, int, int]] = field(default_factory=list)
    """(path below the root, label, bytes): classes in order; in each the folders by their paths, in each folder the files by name."""
    changed: list[int] = field(default_factory=list)
    """Modification time of each, in nanoseconds."""
    left_out: dict[str, list[str]] = field(default_factory=dict)
    """Paths below the root, by the reason."""

    def leave(self, why: str, path: str) -> None:
        """Record a file that is left out."""
        self.left_out.setdefault(why, []).append(path)


def alike(name: str) -> str:
    """A key that is equal for names that look the same: macOS decomposes `ö`, Linux and Windows don't."""
    return unicodedata.normalize("NFC", name)


def folders_in(place: Path) -> list[str]:
    """Names of the folders in a folder, sorted, including hidden ones."""
    return sorted(entry.name for entry in entries_of(place) if kind_of(entry) == "folder")


def class_folder(place: Path, name: str, others: Iterable[str]) -> Path:
    """The folder of a class in a split: the one of its name, or one that looks the same and isn't among the `others`."""
    if (place / name).is_dir():
        return place / name
    if place.is_dir():
        for found in folders_in(place):
            if alike(found) == alike(name) and found not in others:
                return place / found
    raise InputError(f"dataset: the class folder {place / name} is missing.")


def list_split(
    root: Path, split: str, names: tuple[str, ...], *, whole: bool = True, problems: list[str] | None = None
) -> Listing:
    """The image files of a split, and those left out; with `whole` these are all classes, and images beside them are reported.

    Raises InputError for a class folder that isn't there or has no image, or adds the sentence to `problems`.
    """
    found = Listing()
    above = tuple(_identity(place) for place in (root, root / split) if place.is_dir())
    for label, name in enumerate(names):
        taken: list[tuple[str, int, int]] = []
        try:
            folder = class_folder(root / split, name, names)
            own = Listing()
            _walk(folder, f"{split}/{folder.name}", above, taken, own)
            for why, paths in own.left_out.items():
                found.left_out.setdefault(why, []).extend(paths)
            if not taken:
                raise InputError(
                    f"dataset: {folder} has no image file ({', '.join(EXTENSIONS)})."
                    + (f" It has {sentence(own.left_out)}" if own.left_out else "")
                )
        except InputError as error:
            if problems is None:
                raise
            problems.append(str(error))
        taken.sort(key=lambda one: one[0].rpartition("/")[::2])
        found.files += [(file, label, size) for file, size, _ in taken]
        found.changed += [changed for _, _, changed in taken]
    if whole:
        _beside(root / split, split, found)
    return found


def _walk(
    folder: Path,
    below: str,
    above: tuple[tuple[int, int], ...],
    taken: list[tuple[str, int, int]],
    found: Listing,
) -> None:
    above = (*above, _identity(folder))
    for entry in entries_of(folder):
        path, kind = f"{below}/{entry.name}", kind_of(entry)
        if kind == "folder" and entry.name.startswith("."):
            for file in _images_below(Path(entry.path), path):
                found.leave(HIDDEN, file)
        elif kind == "folder" and _identity(entry.path) in above:
            found.leave(LOOP, path)
        elif kind == "folder":
            _walk(Path(entry.path), path, above, taken, found)
        elif kind != "file":
            found.leave(kind, path)
        elif entry.name.lower().endswith(EXTENSIONS):
            status = entry.stat()
            taken.append((path, status.st_size, status.st_mtime_ns))
        elif not (entry.name.startswith(".") or entry.name.lower() in NO_IMAGES):
            ending = os.path.splitext(entry.name)[1].lower()
            found.leave(f"with extension {ending}" if ending else NO_ENDING, path)


def _identity(folder: str | Path) -> tuple[int, int]:
    status = os.stat(folder)
    return status.st_dev, status.st_ino


def _beside(place: Path, split: str, found: Listing) -> None:
    """Record images and links beside the class folders, and class folders with hidden names."""
    for entry in entries_of(place):
        kind, path = kind_of(entry), f"{split}/{entry.name}"
        if kind == "folder" and entry.name.startswith("."):
            for file in _images_below(Path(entry.path), path):
                found.leave(HIDDEN, file)
        elif kind == "file" and entry.name.lower().endswith(EXTENSIONS):
            found.leave(NO_CLASS, path)
        elif kind == DEAD:
            found.leave(DEAD, path)


def _images_below(folder: Path, below: str) -> list[str]:
    found = []
    for place, _, files in os.walk(folder):
        inside = os.path.relpath(place, folder)
        found += [
            os.path.normpath(f"{below}/{inside}/{file}")
            for file in files
            if file.lower().endswith(EXTENSIONS)
        ]
    return found


def entries_of(folder: Path) -> list[os.DirEntry[str]]:
    """The entries of a folder, by name; raises InputError where it may not be read."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise InputError(f"dataset: {folder} can't be read ({error.strerror}).") from error


def kind_of(entry: os.DirEntry[str]) -> str:
    """`folder` or `file`, through links; else the reason why it is neither."""
    try:
        if entry.is_dir():
            return "folder"
        if entry.is_file():
            return "file"
    except OSError:  # a link to itself
        return DEAD
    return DEAD if entry.is_symlink() else NO_FILE


def sentence(left_out: Mapping[str, list[str]]) -> str:
    """Sentence on the files left out: their number per reason, the first one, and remedies; empty where there are none."""
    if not left_out:
        return ""
    kinds = [
        f"{len(paths):,} {why} ({path_text(paths[0])}{', …' if len(paths) > 1 else ''})"
        for why, paths in sorted(left_out.items())
    ]
    advice = [ADVICE[why] for why in ADVICE if why in left_out]
    by_ending = [BY_ENDING] if left_out.keys() - ADVICE.keys() else []
    files = counted(sum(map(len, left_out.values())), "file")
    return f"{files} left out: {'; '.join(kinds)}. {' '.join([*by_ending, *advice])}"


def both(listings: Iterable[Listing]) -> dict[str, list[str]]:
    """The files that are left out of several splits."""
    found: dict[str, list[str]] = {}
    for listing in listings:
        for why, paths in listing.left_out.items():
            found.setdefault(why, []).extend(paths)
    return found
