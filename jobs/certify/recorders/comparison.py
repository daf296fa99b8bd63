"""Compares the counted function with the network in fp32, on fresh draws that go through both."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from numpy.typing import NDArray
from torch import nn

from jobs.certify.blocks import ImageCounts, State
from jobs.certify.recorders.recorder import Recorder, Sampling, TileSource
from rsctl.errors import RefusedError


class ReferenceComparison(Recorder):
    """Disagreements (classes,) on `draws` draws, by the class that the counted function chose; `blocks` () of them are done."""

    observes = False
    draws_later = True

    def __init__(self, reference: nn.Module, draws: int) -> None:
        super().__init__("comparison")
        self.reference, self.draws = reference, draws

    @classmethod
    def for_run(cls, name: str, sampling: Sampling) -> ReferenceComparison:
        return cls(sampling.network("fp32"), sampling.spec.transfer)

    def described(self, device: torch.device, tile: int, block: int) -> dict[str, object]:
        return {"reference": self.reference.described(device, tile, block)}  # type: ignore[operator]

    def start(self, image: ImageCounts) -> State:
        return {
            "blocks": torch.zeros((), dtype=torch.int64),
            "disagreements": torch.zeros(image.counts.shape[1], dtype=torch.int64),
        }

    def later(self, image: ImageCounts, sampler: TileSource) -> Iterator[None]:
        state, size = image.kept[self.name], sampler.block
        blocks = -(-self.draws // size)
        for first in range(int(state["blocks"]), blocks, sampler.per_tile):
            numbers = range(first, min(first + sampler.per_tile, blocks))
            tile = sampler.empty_tile(image)
            for place, number in enumerate(numbers):
                rows = tile[place * size : (place + 1) * size]
                sampler.inputs.fill(rows, image.pixels, "transfer", image.position, number)
            used = min(self.draws - first * size, len(numbers) * size)
            ours, theirs = (network(tile)[:used] for network in (sampler.model, self.reference))
            if not (torch.isfinite(ours).all() and torch.isfinite(theirs).all()):
                raise RefusedError(
                    f"the model gives logits that are not numbers near image {image.position}: its checkpoint is spoilt, or its "
                    "precision overflows."
                )
            chosen = ours.argmax(dim=1)
            differing = chosen[chosen != theirs.argmax(dim=1)]
            state["disagreements"] += torch.bincount(differing, minlength=sampler.classes).cpu()
            state["blocks"].fill_(numbers.stop)
            yield

    def finish(self, state: State) -> dict[str, NDArray[Any]]:
        return {"disagreements": state["disagreements"].numpy()}


RECORDER = ReferenceComparison
