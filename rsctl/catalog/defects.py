"""Defects of an image file that can't be decoded, told by its first bytes, and what to do about it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from rsctl.catalog.depth import of_file
from rsctl.text import counted, path_text

HEAD = 512
"""Bytes that are looked at."""
LOOKED_INTO = 1000
"""Files of a split whose first bytes are read before a submission, at least where there are so many."""
AGAIN = "Copy it again from its source, or remove it."
EMPTY = "is empty (0 bytes)"
APPLE = "isn't an image but what macOS keeps beside one (AppleDouble)"
NO_IMAGES: tuple[tuple[bytes, str, str], ...] = (
    (b"\x00\x05\x16\x07", APPLE, "Delete all such files: find FOLDER -name '._*' -delete"),
    (
        b"version https://git-lfs",
        "is a pointer of Git LFS, not the image",
        "Fetch the images: git lfs pull.",
    ),
    (b"/annex/objects/", "is a pointer of git-annex, not the image", "Fetch the images: git annex get ."),
    (b"../.git/annex/", "is a pointer of git-annex, not the image", "Fetch the images: git annex get ."),
    (b"\x1f\x8b", "is a gzip file", "Unpack it."),
    (b"PK\x03\x04", "is a ZIP archive", "Unpack it."),
)
PAGES = (b"<!doctype", b"<html", b"<head", b"<?xml", b"<error")
OTHER_FORMATS = (
    (0, b"GIF8", "GIF"), (4, b"ftypavi", "AVIF"), (4, b"ftyphei", "HEIC"), (4, b"ftypmif1", "HEIC"), (0, b"%PDF", "PDF"),
    (0, b"<svg", "SVG"), (0, b"\x93NUMPY", "NumPy array"), (0, b"\x00\x00\x00\x0cjP", "JPEG 2000"), (0, b"\x00\x00\x01\x00", "icon"),
)  # fmt: skip


def told_by_head(path: Path, *, undecodable: bool = False) -> str:
    """Why a file is no image, and what to do; empty where its first bytes don't tell. `undecodable`: a decoder has refused it.

    Only regular files are opened: reading a pipe would never end.
    """
    try:
        if not path.is_file():
            return "isn't there any more. Restore it, or submit again with --update."
        with path.open("rb") as stream:
            head = stream.read(HEAD)
    except OSError as error:
        return (
            f"can't be read ({error.strerror}). Give yourself the right to read it (chmod), or copy it again."
        )
    if not head:
        return f"{EMPTY}. {AGAIN}"
    for begin, what, advice in NO_IMAGES:
        if head.startswith(begin):
            return f"{what}. {advice}"
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if text.lower().startswith(PAGES):
        return f"is a web page, as a failed download leaves it, not an image. {AGAIN}"
    for place, begin, name in OTHER_FORMATS if undecodable else ():
        if text.startswith(begin, place):
            return f"holds {'an' if name[0] in 'AIH' else 'a'} {name}, which isn't read here. Convert it to PNG or JPEG, or remove it."
    if not head.strip(b"\0"):
        return f"begins with nothing but zeros, as an interrupted copy does. {AGAIN}"
    return ""


def told(path: Path, error: BaseException) -> str:
    """The same of a file that a decoder refused."""
    if type(error).__name__ == "DecompressionBombError":
        return (
            f"has too many pixels to be decoded safely ({error}). Store it smaller (its copy at a few thousand pixels a side gives "
            "the same picture), or remove it."
        )
    if isinstance(error, MemoryError):
        return "needs more memory than there is. Store it smaller, or remove it."
    known = told_by_head(path, undecodable=True)
    if not known and type(error).__name__ == "UnidentifiedImageError":
        return f"can't be decoded as an image (it begins as none of a known format does). {AGAIN}"
    return known or (
        f"is cut off ({error}). {AGAIN}"
        if "truncated" in str(error).lower() or isinstance(error, EOFError)
        else f"can't be decoded as an image ({error}). {AGAIN}"
    )


def suspects(root: Path, files: Sequence[tuple[str, int, int]]) -> dict[str, str]:
    """Those of some listed files that surely are no images, and why: all that are empty or have a name of macOS's, and what the first
    bytes of some tell, all over the list."""
    every = max(1, len(files) // LOOKED_INTO)
    found = {}
    for number, (file, _, size) in enumerate(files):
        if not size or number % every == 0 or os.path.basename(file).startswith("._"):
            found[file] = of_file(_head, root / file)
    return {file: why for file, why in found.items() if why}


@lru_cache(maxsize=1 << 16)
def _head(path: Path, size: int, changed: int, inode: int) -> str:
    return told_by_head(path)


def grouped(root: Path, defects: Mapping[str, str], most: int = 0) -> list[str]:
    """A line for each reason and one for each file of it, or for the first `most` of them."""
    kinds: dict[str, list[str]] = {}
    for file, why in defects.items():
        kinds.setdefault(why, []).append(file)
    lines = []
    for why, files in sorted(kinds.items(), key=lambda one: -len(one[1])):
        lines.append(f"{counted(len(files), 'file')}: {'each ' if len(files) > 1 else ''}{why}")
        lines += [f"  {path_text(str(root / file))}" for file in (files[:most] if most else files)]
        lines += [f"  and {len(files) - most:,} more"] if most and len(files) > most else []
    return lines
