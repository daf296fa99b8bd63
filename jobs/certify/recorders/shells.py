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
        places, classes = list(seen.kept), seen.logits.shape[1]
        if not places:
            return {}
        shell, predicted, counted = torch.cat(list(seen.kept.values())), seen.predicted, seen.counted
        if len(places) * seen.size < len(predicted):
            rows = [slice(place * seen.size, (place + 1) * seen.size) for place in places]
            predicted, counted = (torch.cat([whole[part] for part in rows]) for whole in (predicted, counted))
        number = torch.arange(len(shell), device=shell.device) // seen.size
        spare = len(places) * self.shells * classes
        bins = torch.where(counted, (number * self.shells + shell) * classes + predicted, spare)
        found = torch.zeros(spare + 1, dtype=torch.int64, device=shell.device)
        found.scatter_add_(0, bins, torch.ones_like(bins))
        by_block = found[:-1].view(len(places), self.shells, classes)
        return {place: {"counts": by_block[number]} for number, place in enumerate(places)}


RECORDER = ShellCounts
