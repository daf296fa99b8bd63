"""Image files of more than 8 bits per channel, and the value of white in them."""

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
"""Allowed formats, whatever a file's name: some others of Pillow's start programs (PostScript) or are rare."""
ENDINGS = (".png", ".ppm", ".pgm", ".tif", ".tiff")
"""Endings of formats that can hold such images."""
FULL = 65_535
BITS, WHITE_IS_ZERO, LARGEST = 258, 262, 281
"""TIFF tags: BitsPerSample, PhotometricInterpretation (0: white is zero), MaxSampleValue."""
TOGETHER, THREADS = 500, 16
"""Number of files that a thread opens one after the other, and number of threads."""
TRIED = 16
"""Number of files whose range of values is checked."""


@dataclass(frozen=True)
class Depth:
    """The range of values of an image of more than 8 bits per channel, as the image describes it."""

    kind: str
    """Description of the values, in a few words."""
    white: int = 0
    """The value of white; 0 where unknown."""
    whole: bool = True
    inverted: bool = False
    """True where 0 is white."""
    colours: bool = False
    """True for colour images, of which Pillow takes the high bytes, as rsctl does with grey."""


def depth_of(image: Image.Image) -> Depth | None:
    """The depth of an opened file; None where Pillow gives 8 bits per channel (as for colours) or 1 bit."""
    if not image.mode.startswith(("I", "F")):
        return None
    tags = getattr(image, "tag_v2", {})
    if tags.get(WHITE_IS_ZERO) == 0:
        return Depth("grey levels of which 0 is white", inverted=True)
    if image.mode == "F":
        return Depth("floating-point numbers", whole=False)
    # Older Pillows use it for PNG's 16 bits, and all for PGM's, whatever its own largest value.
    if image.mode == "I":
        return (
            Depth("16 bits", FULL) if image.format in ("PNG", "PPM") else Depth("32-bit or signed integers")
        )
    bits = tags.get(BITS, (16,))[0]
    stated = tags.get(LARGEST, 2**bits - 1)
    stated = stated[0] if isinstance(stated, tuple) else stated
    if stated != 2**bits - 1:
        return Depth(f"{bits} bits with a stated maximum of {stated}")
    return Depth(f"{bits} bits", 2**bits - 1)


def deep_files(root: Path, files: Sequence[tuple[str, int, int]]) -> dict[str, Depth]:
    """Depths of those `files` (path below root, label, bytes) that have more than 8 bits per channel, in grey or colour."""
    names = [file for file, _, _ in files if file.lower().endswith(ENDINGS)]
    parts = [names[first : first + TOGETHER] for first in range(0, len(names), TOGETHER)]

    def open_part(part: list[str]) -> list[tuple[str, Depth | None]]:
        return [(file, of_file(_depth, root / file)) for file in part]

    # In threads, for reading from a server takes time.
    with ThreadPoolExecutor(THREADS) as pool:
        depths = [one for part in pool.map(open_part, parts) for one in part]
    return {file: depth for file, depth in depths if depth is not None}


def white_of(depth: Depth, given: float, path: Path) -> float:
    """The value of white in a file, as `given` (dataset.white) or by its metadata; raises InputError where neither has it."""
    if depth.inverted:
        raise InputError(
            f"dataset: {path} holds {depth.kind}, which aren't supported. Convert it to 8 bits per channel."
        )
    if given not in (0, FULL) and depth.colours:
        raise InputError(
            f"dataset.white: {path} holds {depth.kind}, of which only the high byte is read, so that {given:g} can't be white. "
            "Convert it to 8 bits per channel."
        )
    if given and depth.whole and not given.is_integer():
        raise InputError(f"dataset.white: {path} holds whole numbers, but it is {given}.")
    if not (given or depth.white):
        raise InputError(
            f"dataset.white: {path} holds {depth.kind}, but the value of white is unknown. Set it, such as 1.0 for numbers "
            "from 0 to 1 or 4095 for 12 bits, or convert the files to 8 bits per channel."
        )
    return given or depth.white


def check_range(root: Path, deep: Mapping[str, Depth]) -> None:
    """Raises InputError where files use far fewer bits than they have (such as 12 of 16): they would be black."""
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
            f"dataset.white: {root / files[0]} and similar files have {depth.kind}, but hold no value above {largest}: "
            "they would be dark or black. "
            + (
                "Convert them to 8 bits per channel"
                if depth.colours
                else f"Set white = {fits} if they have fewer bits"
            )
            + f", or set white = {depth.white} if they really are this dark."
        )


def of_file(read: Callable[[Path, int, int, int], T], path: Path) -> T:
    """The result of `read` for a file, cached until it changes: every point of a sweep needs it."""
    status = os.stat(path)
    return read(path, status.st_size, status.st_ctime_ns, status.st_ino)


@lru_cache(maxsize=1 << 18)
def _depth(path: Path, size: int, changed: int, inode: int) -> Depth | None:
    try:
        if path.suffix.lower() == ".png":
            with path.open("rb") as stream:
                head = stream.read(26)
            # Depth and colour type are at this position; Pillow takes 20 times as long.
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
