"""Image files of more than 8 bits a channel: which they are, and which of their values is white."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from rsctl.errors import InputError

if TYPE_CHECKING:
    from PIL import Image

T = TypeVar("T")

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""Those of data sets, whatever a file is called: others that Pillow knows start programs (PostScript) or are read by few."""
ENDINGS = (".png", ".ppm", ".pgm", ".tif", ".tiff")
"""Formats that can hold such images."""
FULL = 65_535
BITS, WHITE_IS_ZERO, LARGEST = 258, 262, 281
"""Tags of TIFF: BitsPerSample, PhotometricInterpretation (0: white is zero), MaxSampleValue."""
TOGETHER, THREADS = 500, 16
"""Number of files that a thread opens one after the other, and number of threads."""
TRIED = 16
"""Number of files that are looked into for values that fill their range."""


@dataclass(frozen=True)
class Depth:
    """The values of an image of more than 8 bits a channel, as far as the image describes them."""

    kind: str
    """Description of the values, in a few words."""
    white: int = 0
    """The one that is white; 0 where nothing says it."""
    whole: bool = True
    inverted: bool = False
    """0 is white."""
    colours: bool = False
    """True for colours, of which Pillow itself takes the high bytes, as is done here with grey."""


def depth_of(image: Image.Image) -> Depth | None:
    """The depth of an opened file; None where Pillow gives 8 bits a channel, as it does of colours, or 1."""
    if not image.mode.startswith(("I", "F")):
        return None
    tags = getattr(image, "tag_v2", {})
    if tags.get(WHITE_IS_ZERO) == 0:
        return Depth("grey levels of which 0 is white", inverted=True)
    if image.mode == "F":
        return Depth("floating-point numbers", whole=False)
    # Older Pillows have PNG's 16 bits in it, all have those of PGM, whatever its own largest value.
    if image.mode == "I":
        return (
            Depth("16 bits", FULL) if image.format in ("PNG", "PPM") else Depth("32-bit or signed integers")
        )
    bits = tags.get(BITS, (16,))[0]
    said = tags.get(LARGEST, 2**bits - 1)
    said = said[0] if isinstance(said, tuple) else said
    if said != 2**bits - 1:
        return Depth(f"{bits} bits, of which it calls {said} the largest value")
    return Depth(f"{bits} bits", 2**bits - 1)


def deep_files(root: Path, files: Sequence[tuple[str, int, int]]) -> dict[str, Depth]:
    """Those of `files` (path below root, label, bytes) that have more than 8 bits a channel, of colours too."""
    names = [file for file, _, _ in files if file.lower().endswith(ENDINGS)]
    parts = [names[first : first + TOGETHER] for first in range(0, len(names), TOGETHER)]

    def look(part: list[str]) -> list[tuple[str, Depth | None]]:
        return [(file, of_file(_depth, root / file)) for file in part]

    # By threads, for a file that lies on a server is waited for.
    with ThreadPoolExecutor(THREADS) as pool:
        looked_at = [one for part in pool.map(look, parts) for one in part]
    return {file: depth for file, depth in looked_at if depth is not None}


def white_of(depth: Depth, given: float, path: Path) -> float:
    """The value that is white in a file, as `given` (dataset.white) or as it says itself; raises InputError where neither does."""
    if depth.inverted:
        raise InputError(
            f"dataset: {path} holds {depth.kind}, which aren't read here. Convert it to 8 bits a channel."
        )
    if given not in (0, FULL) and depth.colours:
        raise InputError(
            f"dataset.white: {path} holds {depth.kind}, of which only the high byte is read, so that {given:g} can't be white. "
            "Convert it to 8 bits a channel."
        )
    if given and depth.whole and not given.is_integer():
        raise InputError(f"dataset.white: {path} holds whole numbers, of which {given} is none.")
    if not (given or depth.white):
        raise InputError(
            f"dataset.white: {path} holds {depth.kind}, and nothing says which value is white. Give it, such as 1.0 for numbers "
            "from 0 to 1 or 4095 for 12 bits, or convert the files to 8 bits a channel."
        )
    return given or depth.white


def check_range(root: Path, deep: Mapping[str, Depth]) -> None:
    """Raises InputError where files of so many bits hold far fewer: they would be black (12 bits in 16, for one)."""
    files = sorted(file for file, depth in deep.items() if depth.white)
    largest = 0
    for file in files[:: max(1, len(files) // TRIED)]:
        largest = max(largest, of_file(_largest, root / file))
        if 4 * largest > deep[file].white:
            return
    if files:
        depth = deep[files[0]]
        fits = next(white for white in (255, 1023, 4095, 16_383) if white >= largest)
        raise InputError(
            f"dataset.white: {root / files[0]} and others like it are of {depth.kind}, and hold no value above {largest}: "
            "they would be dark or black. "
            + (
                "Convert them to 8 bits a channel"
                if depth.colours
                else f"Say that {fits} is white, if they are of fewer bits"
            )
            + f", or say that {depth.white} is white, if they are so dark."
        )


def of_file(look: Callable[[Path, int, int, int], T], path: Path) -> T:
    """The result of `look` for a file, kept as long as it is the same: the points of a sweep ask for it over and over."""
    status = os.stat(path)
    return look(path, status.st_size, status.st_ctime_ns, status.st_ino)


@lru_cache(maxsize=1 << 18)
def _depth(path: Path, size: int, changed: int, inode: int) -> Depth | None:
    try:
        if path.suffix.lower() == ".png":
            with path.open("rb") as stream:
                head = stream.read(26)
            # Depth and colour type have their place there; Pillow takes 20 times as long.
            if head[:4] == b"\x89PNG":
                colours = head[25:] != b"\x00"
                return Depth("16 bits", FULL, colours=colours) if head[24] == 16 else None
        from PIL import Image  # not before it is needed: most folders have none

        with Image.open(path, formats=FORMATS) as image:
            depth = depth_of(image)
            bits = getattr(image, "tag_v2", {}).get(BITS, ())
            return Depth("16 bits", FULL, colours=True) if depth is None and 16 in bits else depth
    except Exception:  # decoders raise all sorts: a damaged file is named where it is needed
        return None


@lru_cache(maxsize=1 << 10)
def _largest(path: Path, size: int, changed: int, inode: int) -> int:
    import numpy as np
    from PIL import Image

    try:
        with Image.open(path, formats=FORMATS) as image:
            if depth_of(image) is not None:
                return int(np.asarray(image).max())
            return 257 * int(np.asarray(image.convert("RGB")).max())
    except Exception:  # as above
        return FULL
