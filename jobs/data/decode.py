"""Image files → uint8 arrays (H, W, 3), with the resizing and cropping of the field's ImageNet pipelines."""

from __future__ import annotations

import math
import os
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from rsctl.catalog.datasets import ImageFolder
from rsctl.catalog.defects import undecodable_because
from rsctl.catalog.depth import ENDINGS, FORMATS, depth_of, white_of
from rsctl.errors import InputError

Pixels = NDArray[np.uint8]

SCALE, RATIO, ATTEMPTS = (0.08, 1.0), (3 / 4, 4 / 3), 10
THREADED_BYTES = 16_384
NARROWEST = 2000
"""Times that an image may be longer than it is wide: the shorter side is resized first, and the other would have gigabytes."""


def read_image(path: Path, folder: ImageFolder | None = None) -> Image.Image:
    """The decoded RGB image, 8 bits per channel; `folder` describes white values and orientation, None takes 8-bit files as stored.

    Values of more bits are brought to 256 levels of equal width: of 16 bits the high byte is left, as Pillow leaves it of
    colours, so that an image of 8 bits that was stored in 16 comes back as it was. Raises InputError for a file that is missing,
    truncated or no image, and for values of which `folder` doesn't give the white.
    """
    try:
        with Image.open(path, formats=FORMATS) as image:
            depth, size = depth_of(image), image.size
            if max(size) > NARROWEST * min(size):
                raise InputError(
                    f"{path} has {size[0]}x{size[1]} pixels, which is too narrow. Crop it, or remove it."
                )
            if folder is not None and folder.orientation == "exif":
                image.load()
                ImageOps.exif_transpose(image, in_place=True)
            if depth is None:
                return image.convert("RGB")
            values = np.asarray(image)
    except InputError:
        raise
    except Exception as error:  # decoders raise OSError, SyntaxError, ValueError, struct.error …
        raise InputError(
            f"{path} {undecodable_because(path, error)} `rsctl data check` lists every such file at once."
        ) from error
    if folder is None:
        raise InputError(
            f"{path} holds {depth.kind}, but this data set has 8 bits a channel. Convert it, or read the folder as an `imagefolder`."
        )
    if not path.name.lower().endswith(ENDINGS):
        raise InputError(
            f"{path} holds {depth.kind}, but its extension is that of an 8-bit format. Give it the extension of its real format."
        )
    return Image.fromarray(to_bytes(values, white_of(depth, folder.white, path), path)).convert("RGB")


def to_bytes(values: NDArray[np.generic], white: float, path: Path) -> Pixels:
    """Whole numbers from 0 to white, or others, in 256 levels of equal width; raises InputError where one lies outside."""
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= white):  # also where one is no number
        raise InputError(
            f"dataset.white: {path} has values from {low:g} to {high:g}, which don't lie between 0 and {white:g} (white). "
            "Give another value, or convert the file."
        )
    if np.issubdtype(values.dtype, np.integer):
        return (values.astype(np.int64) * 256 // (int(white) + 1)).astype(np.uint8)
    return np.minimum(values.astype(np.float64) * 256 / white, 255).astype(np.uint8)


def centre_crop(image: Image.Image, resize: int, size: int) -> Pixels:
    """Resize the shorter side to `resize` pixels and crop the centre `size` x `size`: uint8 (size, size, 3).

    The arithmetic is torchvision's (Resize, CenterCrop; bilinear with antialiasing).
    """
    width, height = image.size
    long = int(resize * max(image.size) / min(image.size))
    width, height = (resize, long) if width <= height else (long, resize)
    image = image.resize((width, height), Image.Resampling.BILINEAR)  # of the same size: a copy
    left, top = round((width - size) / 2), round((height - size) / 2)
    return np.array(image.crop((left, top, left + size, top + size)))


def resized_crop_flip(image: Image.Image, size: int, seed: str, mirror: bool = True) -> Pixels:
    """A random part of 8 to 100 % of the area, aspect 3/4 to 4/3, resized, mirrored with probability ½ where `mirror` allows it: uint8 (size, size, 3).

    Szegedy et al.: Going Deeper with Convolutions, 2015, section 6; ten attempts and the central fallback as
    in torchvision. Only `random()` is drawn, whose stream Python keeps for ever.
    """
    draw = random.Random(seed).random
    width, height = image.size
    for _ in range(ATTEMPTS):
        area = width * height * (SCALE[0] + (SCALE[1] - SCALE[0]) * draw())
        ratio = RATIO[0] * (RATIO[1] / RATIO[0]) ** draw()
        across, down = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < across <= width and 0 < down <= height:
            left, top = int(draw() * (width - across + 1)), int(draw() * (height - down + 1))
            break
    else:
        across, down = min(width, round(height * RATIO[1])), min(height, round(width / RATIO[0]))
        left, top = (width - across) // 2, (height - down) // 2
    part = image.crop((left, top, left + across, top + down)).resize((size, size), Image.Resampling.BILINEAR)
    return np.array(part.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if draw() < 0.5 and mirror else part)


def decode_each(count: int, mean_bytes: float, decode: Callable[[int], object]) -> None:
    """Call `decode(row)` for every row below `count`; by all cores this process may use where files are large.

    Measured on 2 cores: small JPEGs (32x32, 8,400 per second) lose a third to two threads, 80 KB ones gain 1.6x.
    """
    if mean_bytes <= THREADED_BYTES:
        for row in range(count):
            decode(row)
        return
    pool = ThreadPoolExecutor(len(os.sched_getaffinity(0)))
    try:
        for _ in pool.map(decode, range(count)):
            pass
    finally:
        pool.shutdown(cancel_futures=True)  # a damaged file ends it at once
