"""Defects of image files that can't be decoded, recognised by their first bytes, with remedies."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from rsctl.catalog.depth import of_file
from rsctl.text import counted, path_text

HEAD = 512
"""Number of first bytes that are inspected."""
INSPECTED = 1000
"""Number of files of a split whose first bytes are read before a submission."""
AGAIN = "Copy it again from its source, or remove it."
EMPTY = "is empty (0 bytes)"
APPLE = "isn't an image but macOS metadata (AppleDouble)"
NO_IMAGES: tuple[tuple[bytes, str, str], ...] = (
    (b"\x00\x05\x16\x07", APPLE, "Delete all such files: find FOLDER -name '._*' -delete"),
    (b"version https://git-lfs", "is a pointer of Git LFS, not the image", "Fetch the images: git lfs pull."),
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


def reason_in_head(path: Path, *, undecodable: bool = False) -> str:
    """Reason why a file is not an image, and the remedy; empty where its first bytes are inconclusive. `undecodable`: decoding failed.

    Only regular files are opened: reading a pipe would never end.
    """
    try:
        if not path.is_file():
            return "no longer exists. Restore it, or submit again with --update."
        with path.open("rb") as stream:
            head = stream.read(HEAD)
    except OSError as error:
        return f"can't be read ({error.strerror}). Make it readable (chmod), or copy it again."
    if not head:
        return f"{EMPTY}. {AGAIN}"
    for begin, what, advice in NO_IMAGES:
        if head.startswith(begin):
            return f"{what}. {advice}"
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if text.lower().startswith(PAGES):
        return f"is a web page, left by a failed download, not an image. {AGAIN}"
    for place, begin, name in OTHER_FORMATS if undecodable else ():
        if text.startswith(begin, place):
            return f"holds {'an' if name[0] in 'AIH' else 'a'} {name}, which isn't supported. Convert it to PNG or JPEG, or remove it."
    if not head.strip(b"\0"):
        return f"begins with zeros only, left by an interrupted copy. {AGAIN}"
    return ""


def undecodable_because(path: Path, error: BaseException) -> str:
    """The same for a file that a decoder refused."""
    if type(error).__name__ == "DecompressionBombError":
        return (
            f"has too many pixels to be decoded safely ({error}). Resize it (a few thousand pixels a side give "
            "the same picture), or remove it."
        )
    if isinstance(error, MemoryError):
        return "needs more memory than is available. Resize it, or remove it."
    known = reason_in_head(path, undecodable=True)
    if not known and type(error).__name__ == "UnidentifiedImageError":
        return f"can't be decoded as an image (its first bytes match no known format). {AGAIN}"
    return known or (
        f"is truncated ({error}). {AGAIN}"
        if "truncated" in str(error).lower() or isinstance(error, EOFError)
        else f"can't be decoded as an image ({error}). {AGAIN}"
    )


def suspects(root: Path, files: Sequence[tuple[str, int, int]]) -> dict[str, str]:
    """Listed files that certainly aren't images, with the reasons: all empty files and those with macOS's names, and some by their first
    bytes, evenly spread over the list."""
    every = max(1, len(files) // INSPECTED)
    found = {}
    for number, (file, _, size) in enumerate(files):
        if not size or number % every == 0 or os.path.basename(file).startswith("._"):
            found[file] = of_file(_head, root / file)
    return {file: why for file, why in found.items() if why}


@lru_cache(maxsize=1 << 16)
def _head(path: Path, size: int, changed: int, inode: int) -> str:
    return reason_in_head(path)


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
