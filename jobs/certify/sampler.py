"""Counts the classes of f(x + ε): blocks of many images packed into tiles of one fixed shape.

f only ever sees tiles of `tile` rows, zero-padded where they aren't full: its float32 logits depend on the
batch's shape, but not on a row's place or neighbours. So an image's counts are a function of the checkpoint,
the key of the noise and the executed function, whatever is sampled beside it or after which interruption.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from jobs.certify.noisy_inputs import NoisyInputs
from jobs.certify.sums import empty_sums, summed
from jobs.device import to_device
from rsctl.certificates.stopping import Rule
from rsctl.errors import RefusedError

PHASES = ("selection", "estimation")
"""Each has noise keys of its own: the draws that choose a class never certify it."""
TILES_AT_ONCE = 16
"""How many tiles a GPU is given before their counts are fetched."""
FLIGHTS = 2
"""How many times that many a GPU is given: while it works on the last ones, the counts of those before are added up."""


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
    looks: list[Tensor] = field(default_factory=list)
    """int64 (classes,) each: the estimation counts at the looks taken so far."""
    shells: Tensor | None = None
    """int64 (shells, classes): the estimation counts by noise norm, where they are kept apart."""
    disagreements: Tensor | None = None
    """int64 (classes,): draws on which another network chose another class, by the class that f chose."""
    compared: int = 0
    """Blocks of those draws that are done; always the first ones."""
    sums: Tensor | None = None
    """int64 (2, d) on the device, in quanta of sigma: the noise of estimation draws outside the selected class, by half."""
    others: list[int] = field(default_factory=lambda: [0, 0])
    """How many draws those are."""
    seconds: float = 0.0
    asked: list[int] = field(default_factory=lambda: [0, 0])
    """Blocks that were handed out; those beyond `blocks` are on their way."""
    done: bool = False


@dataclass(frozen=True)
class _Block:
    image: ImageCounts
    phase: int
    number: int
    rows: int
    """How many of its draws count; the last block of a phase may be drawn further than needed."""


@dataclass(frozen=True)
class _Tile:
    blocks: list[_Block]
    histogram: Tensor
    """int64 (per_tile · shells · classes + 2,) on the device."""
    sums: dict[int, Tensor]
    """By place of a block: float64 (d,), the noise of its draws outside the selected class."""
    launched: float
    """When the host began with it, in seconds of a clock of its own."""


class Sampler:
    """Draws n0 selection and n estimation samples per image.

    Parameters
    ----------
    model
        Images in [0, 1] (tile, C, H, W) float32 → logits (tile, classes); in eval mode, on `device`.
    classes
        Number of classes of the data set; the model must have as many.
    rule
        Decides after which look an image has enough draws, n at the most; None draws n.
    key, noise, exponent, arithmetic
        Of `jobs.certify.noisy_inputs.NoisyInputs`.
    clean_selection
        One pass over the image as it is chooses its class, and n0 is 1.
    shell_edges
        Norms, ascending: draws are also counted by the shell between two edges that their noise falls in.
    gradient
        Sum up the noise of the estimation draws that leave the selected class, of a fixed n.
    reference, transfer
        Another network, and how many further draws of each image go through both, of a fixed n.
    """

    def __init__(
        self,
        model: nn.Module,
        classes: int,
        *,
        sigma: float,
        key: Sequence[int | str],
        n0: int,
        n: int,
        tile: int,
        block: int,
        device: torch.device,
        rule: Rule | None = None,
        noise: str = "gaussian",
        exponent: int = 0,
        arithmetic: str = "float",
        clean_selection: bool = False,
        shell_edges: Sequence[float] = (),
        gradient: bool = False,
        reference: nn.Module | None = None,
        transfer: int = 0,
    ) -> None:
        self.gradient = gradient
        self.reference, self.transfer = reference, transfer
        self.model, self.classes, self.device, self.rule = model, classes, device, rule
        self.sigma, self.draws, self.tile, self.block = sigma, (n0, n), tile, block
        self.per_phase = tuple(-(-draws // block) for draws in self.draws)
        # A fixed n is one look, at the end, that nobody asks anything.
        self.looks = [-(-int(draws) // block) for draws in rule.draws] if rule else [self.per_phase[1]]
        self.per_tile = tile // block
        self.shown = NoisyInputs(sigma, key, n, device, noise, exponent, arithmetic)
        self.clean_selection = clean_selection
        self.shells = len(shell_edges) + 1
        self.edges = torch.tensor(list(shell_edges), dtype=torch.float64, device=device)
        self.place = torch.arange(tile, device=device) // block
        self.within = torch.arange(tile, device=device) % block
        self.one = torch.ones(tile, dtype=torch.int64, device=device)
        self.at_once, self.flights = (1, 1) if device.type == "cpu" else (TILES_AT_ONCE, FLIGHTS)
        self.fetched = 0.0
        """When counts were last fetched, by the clock of `_Tile.launched`."""
        self.drawn = 0
        """Rows that f was run on for a count, so far."""

    @torch.inference_mode()
    def run(self, images: Iterable[ImageCounts]) -> Iterator[list[ImageCounts]]:
        """Count every image; yields those whose counts moved, each time up to date, and `done` where they are.

        On a GPU results are fetched for many tiles at once, while it works on the next ones: waiting for each would
        leave it idle. Images that stop early make room for the next ones, so that tiles stay full.
        """
        source = iter(images)
        ready: deque[_Block] = deque()
        flying: deque[list[_Tile]] = deque()
        counted: deque[ImageCounts] = deque()
        """Images whose draws are all in and have yet to be compared."""
        while True:
            while counted:
                image = counted.popleft()
                for _ in self._compare(image):
                    yield []
                image.done = True
                yield [image]
            while len(ready) < self.per_tile * self.at_once and (new := next(source, None)) is not None:
                blocks = self._ask(new)
                ready.extend(blocks)
                if not blocks:  # interrupted while it was compared
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
                    if self._asks_in_turn(image) or self._goes_on(image):
                        # What has begun is finished first: few images are ever under way.
                        ready.extendleft(reversed(self._ask(image)))
                    elif self.reference is None:
                        image.done = True
                    else:
                        counted.append(image)
            yield touched

    def _ask(self, image: ImageCounts) -> list[_Block]:
        """The blocks up to the next look that this image still lacks."""
        wanted = (self.per_phase[0], self.looks[len(image.looks)])
        if self.gradient and image.blocks[0] < self.per_phase[0]:
            wanted = (self.per_phase[0], 0)  # which noise to sum up is known once the class is
        blocks = [
            _Block(image, phase, number, min(self.block, self.draws[phase] - number * self.block))
            for phase in (0, 1)
            for number in range(image.blocks[phase], wanted[phase])
        ]
        image.asked = list(wanted)
        return blocks

    def _asks_in_turn(self, image: ImageCounts) -> bool:
        """Whether an image whose blocks are all in was asked for its selection draws alone."""
        return image.asked[1] < self.looks[len(image.looks)]

    def _goes_on(self, image: ImageCounts) -> bool:
        """Take a look at an image whose blocks are all in; whether it needs more draws."""
        image.looks.append(image.counts[1].clone())
        if self.rule is None:
            return False
        chosen = int(image.counts[0].argmax())
        successes = np.array([[int(counts[chosen]) for counts in image.looks]])
        return bool(self.rule.undecided(successes)[0])

    def _compare(self, image: ImageCounts) -> Iterator[None]:
        """Fresh draws through f and the reference network, those that are still to be made; yields after every tile."""
        if self.reference is None:
            return
        if image.disagreements is None:
            image.disagreements = torch.zeros(self.classes, dtype=torch.int64)
        blocks = -(-self.transfer // self.block)
        for first in range(image.compared, blocks, self.per_tile):
            numbers = range(first, min(first + self.per_tile, blocks))
            tile = self._empty_tile(image)
            for place, number in enumerate(numbers):
                rows = tile[place * self.block : (place + 1) * self.block]
                self.shown.fill(rows, image.pixels, "transfer", image.position, number)
            used = min(self.transfer - first * self.block, len(numbers) * self.block)
            ours, theirs = (network(tile)[:used] for network in (self.model, self.reference))
            if not (torch.isfinite(ours).all() and torch.isfinite(theirs).all()):
                raise RefusedError(
                    f"the model gives logits that are not numbers near image {image.position}: its checkpoint is spoilt, or its "
                    "precision overflows."
                )
            chosen = ours.argmax(dim=1)
            differing = chosen[chosen != theirs.argmax(dim=1)]
            image.disagreements += torch.bincount(differing, minlength=self.classes).cpu()
            image.compared = numbers.stop
            yield

    def _launch(self, blocks: list[_Block]) -> _Tile:
        """Draw noise, run f, make a histogram of classes per block: all on the device, nothing is waited for."""
        launched = time.perf_counter()
        tile = self._empty_tile(blocks[0].image)
        shell = torch.zeros(self.tile, dtype=torch.int64, device=self.device)
        noises: dict[int, Tensor] = {}
        for place, block in enumerate(blocks):
            rows = slice(place * self.block, (place + 1) * self.block)
            image, phase = block.image, PHASES[block.phase]
            if self.clean_selection and phase == "selection":
                tile[rows] = image.pixels
                continue
            noise = self.shown.fill(tile[rows], image.pixels, phase, image.position, block.number)
            if self.shells > 1:
                # In float64: a norm rounded across an edge would be counted in the wrong shell.
                shell[rows] = torch.bucketize(noise.flatten(1).double().norm(dim=1), self.edges)
            if self.gradient and phase == "estimation":
                noises[place] = noise
        logits = self.model(tile)
        if logits.shape != (self.tile, self.classes):
            raise RefusedError(
                f"the model gives {tuple(logits.shape)} for a tile of {self.tile} images; the data set has {self.classes} classes. "
                "Nothing was counted."
            )
        rows_of = [block.rows for block in blocks] + [0] * (self.per_tile - len(blocks))
        used = to_device(torch.tensor(rows_of), self.device)
        counted = self.within < used[self.place]
        # A bin per (block, shell, class); rows that don't count go to one bin, logits that are no numbers to another.
        spare = self.per_tile * self.shells * self.classes
        predicted = logits.argmax(dim=1)
        bins = (self.place * self.shells + shell) * self.classes + predicted
        bins = torch.where(counted, bins, spare)
        bins = torch.where(counted & ~torch.isfinite(logits).all(dim=1), spare + 1, bins)
        sums = {}
        for place, noise in noises.items():
            rows = slice(place * self.block, (place + 1) * self.block)
            chosen = int(blocks[place].image.counts[0].argmax())
            sums[place] = summed(noise, counted[rows] & (predicted[rows] != chosen), self.sigma)
        # No `bincount`: on a GPU it waits to learn the largest bin.
        histogram = torch.zeros(spare + 2, dtype=torch.int64, device=self.device)
        return _Tile(blocks, histogram.scatter_add_(0, bins, self.one), sums, launched)

    def _empty_tile(self, image: ImageCounts) -> Tensor:
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
            for place, block in enumerate(tile.blocks):
                image = block.image
                by_shell = histogram[:-2].view(self.per_tile, self.shells, self.classes)[place]
                image.counts[block.phase] += by_shell.sum(dim=0)
                if PHASES[block.phase] == "estimation" and self.shells > 1:
                    image.shells = by_shell if image.shells is None else image.shells + by_shell
                if place in tile.sums:
                    half, counts = block.number % 2, by_shell.sum(dim=0)
                    if image.sums is None:
                        image.sums = empty_sums(tile.sums[place].numel(), self.device)
                    image.sums[half] += tile.sums[place].long()
                    image.others[half] += int(counts.sum() - counts[image.counts[0].argmax()])
                image.blocks[block.phase] = block.number + 1
                image.seconds += share * block.rows
                touched[image.position] = image
        return list(touched.values())
