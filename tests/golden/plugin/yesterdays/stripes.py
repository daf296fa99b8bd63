"""Images with bright upper or lower halves."""

import numpy as np
import torch

from jobs.data.images import ArrayImages, as_positions


def read(dataset, parameters, split, data_root, shape, positions):
    count = shape.counts[split]
    labels = np.arange(count) % 2
    pixels = np.zeros((count, 1, 8, 8), np.uint8)
    pixels[labels == 0, :, :4] = 220
    pixels[labels == 1, :, 4:] = 220
    chosen = as_positions(positions, count)
    return ArrayImages(
        torch.from_numpy(pixels)[chosen],
        torch.from_numpy(labels)[chosen],
        shape,
        f"stripes-{split}",
        positions,
    )
