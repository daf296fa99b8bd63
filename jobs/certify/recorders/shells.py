"""Counts the estimation draws by shell, the norms between two edges that their noise falls in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from jobs.certify.blocks import ImageCounts, State
from jobs.certify.recorders.recorder import Observed, Recorder, Sampling


class ShellCounts(Recorder):
    """Counts (S, classes) in the shells between norms `edges`, ascending."""

    def __init__(self, edges: Sequence[float]) -> None:
        super().__init__("shells")
        self.edges = torch.tensor(list(edges), dtype=torch.float64)
        self.shells = len(self.edges) + 1
        self.one = self.first = torch.empty(0, dtype=torch.int64)
        """By row of a tile: 1, and the first bin of its block."""

    @classmethod
    def for_run(cls, name: str, sampling: Sampling) -> ShellCounts:
        return cls(sampling.spec.shell_edges)

    def start(self, image: ImageCounts) -> State:
        self.edges = self.edges.to(image.pixels.device)
        shape = (self.shells, image.counts.shape[1])
        return {"counts": torch.zeros(shape, dtype=torch.int64, device=image.pixels.device)}

    def of_noise(self, noise: Tensor) -> Tensor:
        # In float64: a norm rounded across an edge would be counted in the wrong shell.
        return torch.bucketize(noise.flatten(1).double().norm(dim=1), self.edges)

    def observe_tile(self, seen: Observed) -> Mapping[int, State]:
        """All blocks in one histogram with a bin per (block, shell, class) and one for rows that don't count."""
        if not seen.kept:
            return {}
        classes, predicted, counted = seen.logits.shape[1], seen.predicted, seen.counted
        if len(seen.kept) * seen.size < len(predicted):
            rows = [slice(place * seen.size, (place + 1) * seen.size) for place in seen.kept]
            predicted, counted = (torch.cat([whole[part] for part in rows]) for whole in (predicted, counted))
        if len(predicted) != len(self.first):
            self.one = torch.ones_like(predicted)
            self.first = (
                self.shells * classes * (self.one.cumsum(0) - 1).div_(seen.size, rounding_mode="floor")
            )
        spare = len(seen.kept) * self.shells * classes
        bins = torch.cat(list(seen.kept.values())).mul_(classes).add_(self.first).add_(predicted)
        if any(seen.blocks[place].rows < seen.size for place in seen.kept):
            bins = torch.where(counted, bins, spare)
        found = torch.zeros(spare + 1, dtype=torch.int64, device=bins.device).scatter_add_(0, bins, self.one)
        by_block = found[:-1].view(-1, self.shells, classes).unbind()
        return {place: {"counts": counts} for place, counts in zip(seen.kept, by_block, strict=True)}


RECORDER = ShellCounts
