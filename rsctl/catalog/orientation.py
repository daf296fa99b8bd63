"""Image files with an EXIF entry that rotates them for display."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from rsctl.catalog.depth import FORMATS, of_file

ORIENTATION = 274
UPRIGHT = 1
LOOKED_AT = 2000
"""Most files that are opened for this check."""
HEAD = 4096
"""First bytes of a file, enough to find EXIF entries."""


@dataclass(frozen=True)
class Turned:
    """Rotated files among those checked."""

    files: int
    looked_at: int
    first: str
    """The first of them, or empty."""


def turned_files(root: Path, files: Sequence[str]) -> Turned:
    """Check all of `files` below root, or an evenly spread sample. Pillow itself rotates TIFF files."""
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
