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

    def taken(self, image: ImageCounts) -> int:
        """How many looks an image has had."""
        return int(image.kept[self.name]["counts"].any(dim=1).sum())

    def pause(self, image: ImageCounts, *, selected: bool) -> int | None:
        taken = self.taken(image)
        return self.blocks[taken] if taken < len(self.blocks) else None

    def settled(self, image: ImageCounts) -> bool:
        looks, taken = image.kept[self.name]["counts"], self.taken(image)
        if taken == len(self.blocks) or image.blocks[1] < self.blocks[taken]:
            return False
        looks[taken] = image.counts[1]
        successes = looks[: taken + 1, image.selected].numpy()
        return not self.rule.undecided(successes[None])[0]


RECORDER = LookCounts
