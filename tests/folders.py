"""Folders of synthetic images for tests: a shape per class, drawn at random."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from jobs.data import load
from jobs.models.load import load_trained
from rsctl.store.layout import Run


def shapes(root: Path, *, train: Sequence[int], test: Sequence[int], size: int, seed: int = 0) -> None:
    """`train/<class>/*.png` and `test/<class>/*.png`: so many bright discs, squares and triangles on dark ground."""
    random = np.random.default_rng(seed)
    for split, counts in (("train", train), ("test", test)):
        for kind, count in enumerate(counts):
            folder = root / split / f"{['disc', 'square', 'triangle'][kind]}"
            folder.mkdir(parents=True)
            for i in range(count):
                drawn(kind, random, size).save(folder / f"{i:03}.png")


def drawn(kind: int, random: np.random.Generator, size: int) -> Image.Image:
    ground, paint = (tuple(random.integers(*bounds, 3).tolist()) for bounds in ((0, 100), (150, 256)))
    image = Image.new("RGB", (size, size), ground)
    radius = random.uniform(0.28, 0.4) * size
    x, y = random.uniform(radius, size - radius, 2)
    left, top, right, bottom = x - radius, y - radius, x + radius, y + radius
    draw = ImageDraw.Draw(image)
    if kind == 0:
        draw.ellipse((left, top, right, bottom), fill=paint)
    elif kind == 1:
        draw.rectangle((left, top, right, bottom), fill=paint)
    else:
        draw.polygon([(x, top), (left, bottom), (right, bottom)], fill=paint)
    noisy = np.asarray(image) + random.normal(0, 10, (size, size, 3))
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def noisy_accuracy(run: Run, data_root: Path, size: int, sigma: float) -> float:
    """Accuracy of a run's network on noisy test images of the folder `own` below the data root, each class weighing the same."""
    images = load("imagefolder", {"path": "own", "size": size}, "test", data_root)
    network, _ = load_trained(run.model_file, run.spec.hash, images.shape)
    draws = torch.Generator().manual_seed(0)
    hits = torch.zeros(len(images))
    with torch.no_grad():
        for _ in range(8):
            noisy = images.pixels / 255
            noisy = noisy + sigma * torch.randn(noisy.shape, generator=draws)
            hits += (network(noisy).argmax(1) == images.labels).float() / 8
    return float(np.mean([hits[images.labels == kind].mean() for kind in range(images.shape.classes)]))
