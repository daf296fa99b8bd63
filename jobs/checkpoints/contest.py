"""A test of which of two normalisations a published network was trained with, by images that it classifies with both."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from scipy.special import ndtri
from scipy.stats import binomtest
from torch import Tensor

LOOKS = 4
"""Largest number of looks; each has twice as many images as the one before."""
LEVEL = 0.01
"""Largest probability, over all looks, that two equally good ones are taken for different."""
ALIKE = 0.02
"""Share of the images: two that differ by less are as good as one another."""


@dataclass(frozen=True)
class Contest:
    """A comparison of one normalisation with another, on the same images."""

    ours: float
    """Share of the images that the network gets right."""
    theirs: float
    images: int
    verdict: Literal["better", "worse", "alike", "open"]
    """`open`: undecided with these images."""


def contest(pairs: Iterator[tuple[Tensor, Tensor]]) -> Contest:
    """Compares over `pairs`, bool (N,) each: right with ours, right with theirs, until decided or out of images."""
    ours, theirs = next(pairs)
    while (verdict := compare(ours, theirs)) == "open" and (more := next(pairs, None)) is not None:
        ours, theirs = torch.cat([ours, more[0]]), torch.cat([theirs, more[1]])
    return Contest(float(ours.float().mean()), float(theirs.float().mean()), len(ours), verdict)


def compare(ours: Tensor, theirs: Tensor) -> Literal["better", "worse", "alike", "open"]:
    """At one look, by McNemar's exact test: of images that one gets right alone, either has half if they are equally good.

    Images that both get right, or neither, say nothing; so this tells what two accuracies with their errors don't.
    """
    level = LEVEL / LOOKS
    won, lost = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
    significant = won + lost > 0 and binomtest(won, won + lost).pvalue <= level
    if significant and won > lost:
        return "better"
    # One image more than differ, so that a few that agree don't pass for all.
    error = -ndtri(level / 2) * (won + lost + 1) ** 0.5
    if abs(won - lost) + error <= ALIKE * len(ours):
        return "alike"
    return "worse" if significant else "open"
