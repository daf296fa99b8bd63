"""Counts the classes of f(x + ε): blocks of many images packed into tiles of one fixed shape.

f only ever sees tiles of `tile` rows, zero-padded where they aren't full: its float32 logits depend on the
batch's shape, but not on a row's place or neighbours. So an image's counts are a function of the checkpoint,
the key of the noise and the executed function, whatever is sampled beside it or after which interruption.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from jobs.sampling.noise import ESTIMATION, SELECTION, gaussian_block
from rsctl.errors import RefusedError

PHASES = (SELECTION, ESTIMATION)


@dataclass
class ImageCounts:
    """One image under way: how many blocks of each phase are drawn, and what they counted."""

    position: int
    label: int
    pixels: Tensor
    """float32 (C, H, W) in [0, 1]."""
    counts: Tensor
    """int64 (2, classes): selection and estimation."""
    blocks: list[int] = field(default_factory=lambda: [0, 0])
    """Blocks counted so far; always the first ones of their phase."""
    seconds: float = 0.0


@dataclass(frozen=True)
class _Block:
    image: ImageCounts
    phase: int
    number: int
    rows: int
    """How many of its draws count; the last block of a phase may be drawn further than needed."""


class Sampler:
    """Draws n0 selection and n estimation samples per image.

    Parameters
    ----------
    model
        Images in [0, 1] (tile, C, H, W) float32 → logits (tile, classes); in eval mode, on `device`.
    classes
        Number of classes of the data set; the model must have as many.
    """

    def __init__(
        self,
        model: nn.Module,
        classes: int,
        *,
        sigma: float,
        seed: int,
        n0: int,
        n: int,
        tile: int,
        block: int,
        device: torch.device,
    ) -> None:
        self.model, self.classes, self.device = model, classes, device
        self.sigma, self.seed, self.draws, self.tile, self.block = sigma, seed, (n0, n), tile, block
        self.per_phase = tuple(-(-draws // block) for draws in self.draws)

    def finished(self, image: ImageCounts) -> bool:
        return tuple(image.blocks) == self.per_phase

    @torch.inference_mode()
    def run(self, images: Iterable[ImageCounts]) -> Iterator[list[ImageCounts]]:
        """Count every image; after each tile, yield the images that took part in it (their counts are up to date)."""
        waiting: list[_Block] = []
        for image in images:
            for block in self._blocks(image):
                waiting.append(block)
                if len(waiting) == self.tile // self.block:
                    yield self._count(waiting)
                    waiting = []
        if waiting:
            yield self._count(waiting)

    def _blocks(self, image: ImageCounts) -> Iterator[_Block]:
        """The blocks that this image still lacks."""
        for phase, draws in enumerate(self.draws):
            for number in range(image.blocks[phase], self.per_phase[phase]):
                yield _Block(image, phase, number, min(self.block, draws - number * self.block))

    def _count(self, blocks: list[_Block]) -> list[ImageCounts]:
        started = time.perf_counter()
        shape = blocks[0].image.pixels.shape
        tile = torch.zeros((self.tile, *shape), device=self.device)
        for place, block in enumerate(blocks):
            rows = tile[place * self.block : (place + 1) * self.block]
            noise = gaussian_block(
                tuple(rows.shape), self.sigma, seed=self.seed, phase=PHASES[block.phase], image=block.image.position,
                block=block.number, device=self.device,
            )  # fmt: skip
            torch.add(block.image.pixels, noise, out=rows)
        logits = self.model(tile)
        if logits.shape != (self.tile, self.classes):
            raise RefusedError(
                f"the model gives {tuple(logits.shape)} for a tile of {self.tile}; the data set has {self.classes} classes."
            )
        used = sum(block.rows for block in blocks)
        chosen = logits.argmax(dim=1)
        # One histogram for the tile: a bin per (block, class); rows that don't count go to a bin of their own.
        place = torch.arange(self.tile, device=self.device) // self.block
        within = torch.arange(self.tile, device=self.device) % self.block
        limits = torch.zeros(self.tile // self.block, dtype=torch.int64, device=self.device)
        limits[: len(blocks)] = torch.tensor([block.rows for block in blocks], device=self.device)
        counted = within < limits[place]
        if not bool(torch.isfinite(logits[counted]).all()):
            raise RefusedError(
                f"the model gives logits that are not numbers (image {blocks[0].image.position} or one of its {len(blocks) - 1} neighbours): "
                "its checkpoint is spoilt or its precision overflows. Nothing was counted for this tile."
            )
        bins = torch.where(counted, place * self.classes + chosen, self.tile // self.block * self.classes)
        histogram = torch.bincount(bins, minlength=self.tile // self.block * self.classes + 1).cpu()
        share = (time.perf_counter() - started) / used
        touched: dict[int, ImageCounts] = {}
        for place_, block in enumerate(blocks):
            image = block.image
            image.counts[block.phase] += histogram[place_ * self.classes : (place_ + 1) * self.classes]
            image.blocks[block.phase] = block.number + 1
            image.seconds += share * block.rows
            touched[id(image)] = image
        return list(touched.values())
