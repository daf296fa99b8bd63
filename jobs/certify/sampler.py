"""Counts the classes of f(x + ε): blocks of many images packed into tiles of one fixed shape.

f only ever sees tiles of `tile` rows, zero-padded where they aren't full: its float32 logits depend on the
batch's shape, but not on a row's place or neighbours. So an image's counts are a function of the checkpoint,
the key of the noise and the executed function, whatever is sampled beside it or after which interruption.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from jobs.certify.blocks import PHASES, Block, ImageCounts, State
from jobs.certify.noisy_inputs import NoisyInputs
from jobs.certify.recorders.recorder import Observed, Recorder
from jobs.device import to_device
from rsctl.errors import RefusedError

__all__ = ["ImageCounts", "Sampler"]

TILES_AT_ONCE = 16
"""Tiles that a GPU is given before their counts are fetched."""
FLIGHTS = 2
"""Groups of so many that a GPU is given: while it works on the last ones, the counts of those before are added up."""


@dataclass(frozen=True)
class _Tile:
    blocks: list[Block]
    histogram: Tensor
    """int64 (per_tile · classes + 2,) on the device."""
    observed: list[Mapping[int, State]]
    """By recorder, by place of a block."""
    launched: float
    """Start of its launch, in seconds of a clock of the host."""


class Sampler:
    """Draws n0 selection and n estimation samples per image.

    Parameters
    ----------
    model
        Images in [0, 1] (tile, C, H, W) float32 → logits (tile, classes); in eval mode, on the device of `inputs`.
    classes
        Number of classes of the data set; the model must have as many.
    inputs
        Makes the noisy images, n per image.
    tile, block
        Rows of a forward pass, and of one call for noise.
    clean_selection
        One pass over the image as it is chooses its class, and n0 is 1.
    recorders
        Measurements beside the counts.
    """

    def __init__(
        self,
        model: nn.Module,
        classes: int,
        inputs: NoisyInputs,
        *,
        n0: int,
        tile: int,
        block: int,
        clean_selection: bool = False,
        recorders: Sequence[Recorder] = (),
    ) -> None:
        self.model, self.classes, self.inputs, self.device = model, classes, inputs, inputs.device
        self.draws, self.tile, self.block = (n0, inputs.n), tile, block
        self.per_phase = tuple(-(-draws // block) for draws in self.draws)
        self.per_tile = tile // block
        self.clean_selection = clean_selection
        self.recorders = recorders
        self.observers = [recorder for recorder in recorders if recorder.observes]
        self.drawing_later = any(recorder.draws_later for recorder in recorders)
        self.place = torch.arange(tile, device=self.device) // block
        self.within = torch.arange(tile, device=self.device) % block
        self.one = torch.ones(tile, dtype=torch.int64, device=self.device)
        self.at_once, self.flights = (1, 1) if self.device.type == "cpu" else (TILES_AT_ONCE, FLIGHTS)
        self.fetched = 0.0
        """Time of the last fetch of counts, by the clock of `_Tile.launched`."""
        self.drawn = 0
        """Rows that f was run on for a count, so far."""

    @torch.inference_mode()
    def run(self, images: Iterable[ImageCounts]) -> Iterator[list[ImageCounts]]:
        """Count every image; yields those whose counts moved, each time up to date, and `done` where they are.

        On a GPU results are fetched for many tiles at once, while it works on the next ones: waiting for each would
        leave it idle. Images that stop early make room for the next ones, so that tiles stay full.
        """
        source = iter(images)
        ready: deque[Block] = deque()
        flying: deque[list[_Tile]] = deque()
        counted: deque[ImageCounts] = deque()
        """Images whose draws are all in and that recorders have yet to draw for."""
        while True:
            while counted:
                image = counted.popleft()
                for recorder in self.recorders:
                    for _ in recorder.later(image, self):
                        yield []
                image.done = True
                yield [image]
            while len(ready) < self.per_tile * self.at_once and (new := next(source, None)) is not None:
                for recorder in self.recorders:
                    if recorder.name not in new.kept:
                        new.kept[recorder.name] = recorder.start(new)
                blocks = self._ask(new)
                ready.extend(blocks)
                if not blocks:  # interrupted while a recorder drew for it
                    counted.append(new)
            if counted:
                continue
            if ready and len(flying) < self.flights:
                tiles: list[_Tile] = []
                while ready and len(tiles) < self.at_once:
                    tiles.append(
                        self._launch([ready.popleft() for _ in range(min(self.per_tile, len(ready)))])
                    )
                flying.append(tiles)
                continue
            if not flying:
                return
            touched = self._collect(flying.popleft())
            for image in touched:
                if image.blocks == image.asked:
                    if self._goes_on(image):
                        # What has begun is finished first: few images are ever under way.
                        ready.extendleft(reversed(self._ask(image)))
                    elif self.drawing_later:
                        counted.append(image)
                    else:
                        image.done = True
            yield touched

    def _ask(self, image: ImageCounts) -> list[Block]:
        """The blocks that this image still lacks, up to the next pause of a recorder."""
        selected = image.blocks[0] >= self.per_phase[0]
        pauses = [recorder.pause(image, selected=selected) for recorder in self.recorders]
        image.asked = [
            self.per_phase[0],
            min([self.per_phase[1], *(pause for pause in pauses if pause is not None)]),
        ]
        return [
            Block(image, phase, number, min(self.block, self.draws[phase] - number * self.block))
            for phase in (0, 1)
            for number in range(image.blocks[phase], image.asked[phase])
        ]

    def _goes_on(self, image: ImageCounts) -> bool:
        """True where an image whose blocks are all in needs more draws."""
        settled = [recorder.settled(image) for recorder in self.recorders]
        return image.blocks[1] < self.per_phase[1] and not any(settled)

    def _launch(self, blocks: list[Block]) -> _Tile:
        """Draw noise, run f, make a histogram of classes per block: all on the device, nothing is waited for."""
        launched = time.perf_counter()
        tile = self.empty_tile(blocks[0].image)
        kept: list[dict[int, Tensor]] = [{} for _ in self.observers]
        for place, block in enumerate(blocks):
            rows = slice(place * self.block, (place + 1) * self.block)
            image, phase = block.image, PHASES[block.phase]
            if self.clean_selection and phase == "selection":
                tile[rows] = image.pixels
                continue
            noise = self.inputs.fill(tile[rows], image.pixels, phase, image.position, block.number)
            if phase == "estimation":
                for recorder, own in zip(self.observers, kept, strict=True):
                    own[place] = recorder.of_noise(noise)
        logits = self.model(tile)
        if logits.shape != (self.tile, self.classes):
            raise RefusedError(
                f"the model gives {tuple(logits.shape)} for a tile of {self.tile} images; the data set has {self.classes} classes. "
                "Nothing was counted."
            )
        rows_of = [block.rows for block in blocks] + [0] * (self.per_tile - len(blocks))
        used = to_device(torch.tensor(rows_of), self.device)
        counted = self.within < used[self.place]
        # A bin per (block, class); rows that don't count go to one bin, logits that are no numbers to another.
        spare = self.per_tile * self.classes
        predicted = logits.argmax(dim=1)
        bins = torch.where(counted, self.place * self.classes + predicted, spare)
        bins = torch.where(counted & ~torch.isfinite(logits).all(dim=1), spare + 1, bins)
        observed = [
            recorder.observe_tile(Observed(blocks, own, logits, predicted, counted, self.block))
            for recorder, own in zip(self.observers, kept, strict=True)
        ]
        # No `bincount`: on a GPU it waits to learn the largest bin.
        histogram = torch.zeros(spare + 2, dtype=torch.int64, device=self.device)
        return _Tile(blocks, histogram.scatter_add_(0, bins, self.one), observed, launched)

    def empty_tile(self, image: ImageCounts) -> Tensor:
        """Zeros for `tile` images as large as this one: float32 (tile, C, H, W)."""
        shape = (self.tile, *image.pixels.shape)
        return torch.empty(shape, device=self.device, memory_format=torch.channels_last).zero_()

    def _collect(self, tiles: list[_Tile]) -> list[ImageCounts]:
        """Fetch the histograms of these tiles and add them up; refuses them all if one logit is not a number."""
        fetched = torch.stack([tile.histogram for tile in tiles]).cpu()
        # A GPU takes them in turn: it began with these when it had ended the ones before.
        began, self.fetched = max(tiles[0].launched, self.fetched), time.perf_counter()
        rows = sum(block.rows for tile in tiles for block in tile.blocks)
        self.drawn += rows
        share = (self.fetched - began) / rows
        for tile, histogram in zip(tiles, fetched, strict=True):
            if histogram[-1]:
                images = sorted({block.image.position for block in tile.blocks})
                raise RefusedError(
                    f"the model gives logits that are not numbers near image {images[0]}: its checkpoint is spoilt, or its "
                    "precision overflows. Nothing was counted for these images."
                )
        touched: dict[int, ImageCounts] = {}
        for tile, histogram in zip(tiles, fetched, strict=True):
            by_block = histogram[:-2].view(self.per_tile, self.classes)
            for place, block in enumerate(tile.blocks):
                image = block.image
                image.counts[block.phase] += by_block[place]
                for recorder, observed in zip(self.observers, tile.observed, strict=True):
                    if place in observed:
                        recorder.add(image.kept[recorder.name], block, observed[place])
                image.blocks[block.phase] = block.number + 1
                image.seconds += share * block.rows
                touched[image.position] = image
        return list(touched.values())
