"""Image files whose EXIF entry says that they are to be turned before they are shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from rsctl.catalog.depth import FORMATS, of_file

ORIENTATION = 274
UPRIGHT = 1
LOOKED_AT = 2000
"""Most files that are opened for it."""
HEAD = 4096
"""Bytes at the beginning of a file that say whether it has EXIF entries at all."""


@dataclass(frozen=True)
class Turned:
    """Files that are to be turned, among those that were looked at."""

    files: int
    looked_at: int
    first: str
    """The first of them, or empty."""


def turned_files(root: Path, files: Sequence[str]) -> Turned:
    """All of `files` below root, or as many evenly spread ones as are looked at. Pillow itself turns TIFF files."""
    chosen = files[:: -(-len(files) // LOOKED_AT) or 1]
    found = [file for file in chosen if of_file(_is_turned, root / file)]
    return Turned(len(found), len(chosen), found[0] if found else "")


@lru_cache(maxsize=1 << 16)
def _is_turned(path: Path, size: int, changed: int, inode: int) -> bool:
    try:
        with path.open("rb") as stream:
            head = stream.read(HEAD)
        if not (b"Exif\0\0" in head or b"eXIf" in head or head[12:16] == b"VP8X"):
            return False
        from PIL import Image

        with Image.open(path, formats=FORMATS) as image:
            return image.getexif().get(ORIENTATION, UPRIGHT) in range(2, 9)
    except Exception:  # a damaged file is named where it is needed
        return False
