"""Training augmentation, a batch at a time, on the device where the batch is."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

PADDING = 4


def augment(
    pixels: Tensor,
    kind: str,
    generator: torch.Generator,
    *,
    whole: int | None = None,
    mine: slice = slice(None),
    mirror: bool = True,
    padding: int = PADDING,
) -> Tensor:
    """Augmented images (B, C, H, W), uint8 or float, drawn from `generator` alone, which may be on another device.

    `crop-flip`: `padding` black pixels around, a random crop of the old size, mirrored with probability ½ unless `mirror` is
    False (He et al. 2016, section 4.2). `none` and `resized-crop-flip` leave the batch as it is and draw nothing; the latter is
    done while decoding (`Images.stream`). Where `pixels` is one process's part of a batch, `whole` is the size of the batch and
    `mine` the part: draws are made for the whole batch, so that an image is cropped alike whatever the number of processes.
    """
    if kind in ("none", "resized-crop-flip"):
        return pixels
    if kind != "crop-flip":
        raise ValueError(f"unknown augmentation '{kind}'")
    count, channels, height, width = pixels.shape
    drawn = (count if whole is None else whole, 1)
    top, left, mirrored = (
        torch.randint(high, drawn, generator=generator, device=generator.device)[mine].to(pixels.device)
        for high in (2 * padding + 1, 2 * padding + 1, 2)
    )
    if not mirror:
        mirrored = torch.zeros_like(mirrored)
    rows = torch.arange(height, device=pixels.device) + top
    columns = torch.arange(width, device=pixels.device)
    columns = torch.where(mirrored == 1, width - 1 - columns, columns) + left
    padded = functional.pad(pixels, (padding,) * 4)
    cut = padded.gather(2, rows[:, None, :, None].expand(-1, channels, -1, width + 2 * padding))
    return cut.gather(3, columns[:, None, None, :].expand(-1, channels, height, -1))
