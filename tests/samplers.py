"""A sampler from plain values, with the recorders that they ask for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from jobs.certify.noisy_inputs import NoisyInputs
from jobs.certify.recorders.comparison import ReferenceComparison
from jobs.certify.recorders.gradient_sums import NoiseSums
from jobs.certify.recorders.looks import LookCounts
from jobs.certify.recorders.recorder import Recorder
from jobs.certify.recorders.shells import ShellCounts
from jobs.certify.sampler import Sampler
from rsctl.certificates.stopping import Rule


def sampler_of(
    model: nn.Module, classes: int, *, sigma: float, key: Sequence[int | str], n0: int, n: int, tile: int, block: int,
    device: torch.device, clean_selection: bool = False, rule: Rule | None = None, shell_edges: Sequence[float] = (),
    gradient: bool = False, reference: nn.Module | None = None, transfer: int = 0, **noise: Any,
) -> Sampler:  # fmt: skip
    recorders: list[Recorder] = []
    if rule:
        recorders.append(LookCounts(rule, block))
    if shell_edges:
        recorders.append(ShellCounts(shell_edges))
    if gradient:
        recorders.append(NoiseSums(sigma))
    if reference:
        recorders.append(ReferenceComparison(reference, transfer))
    inputs = NoisyInputs(sigma, key, n, device, **noise)
    return Sampler(
        model,
        classes,
        inputs,
        n0=n0,
        tile=tile,
        block=block,
        clean_selection=clean_selection,
        recorders=recorders,
    )
