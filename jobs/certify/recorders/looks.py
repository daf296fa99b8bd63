"""Looks at the counts while they are drawn, and ends the sampling of an image whose radius is settled."""

from __future__ import annotations

import torch

from jobs.certify.blocks import ImageCounts, State
from jobs.certify.recorders.recorder import Recorder, Sampling
from rsctl.certificates.stopping import Rule
from rsctl.store.extras.looks import stopping_rule


class LookCounts(Recorder):
    """Estimation counts (K, classes) at the K looks of a rule, zeros at those that weren't taken."""

    observes = False

    def __init__(self, rule: Rule, block: int) -> None:
        super().__init__("looks")
        self.rule = rule
        self.blocks = [-(-int(draws) // block) for draws in rule.draws]

    @classmethod
    def for_run(cls, name: str, sampling: Sampling) -> LookCounts:
        rule = stopping_rule(sampling.spec, sampling.dimension)
        assert rule is not None
        return cls(rule, sampling.spec.block)

    def start(self, image: ImageCounts) -> State:
        return {"counts": torch.zeros((len(self.blocks), image.counts.shape[1]), dtype=torch.int64)}

    def pause(self, image: ImageCounts, *, selected: bool) -> int | None:
        return next((blocks for blocks in self.blocks if blocks > image.blocks[1]), None)

    def settled(self, image: ImageCounts) -> bool:
        if image.blocks[1] not in self.blocks:
            return False
        look, counts = self.blocks.index(image.blocks[1]), image.kept[self.name]["counts"]
        counts[look] = image.counts[1]
        successes = counts[: look + 1, image.selected].numpy()
        return not self.rule.undecided(successes[None])[0]


RECORDER = LookCounts
