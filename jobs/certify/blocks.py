"""Images under way, and the blocks of draws that their counts are made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

PHASES = ("selection", "estimation")
"""Each has noise keys of its own: the draws that choose a class never certify it."""

State = dict[str, Tensor]
"""The tensors that a recorder keeps of one image, by column."""


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
    kept: dict[str, State] = field(default_factory=dict)
    """The measurements so far, by recorder."""
    measured: dict[str, dict[str, Any]] = field(default_factory=dict)
    """The measurements of an image that is done, as arrays by column."""
    seconds: float = 0.0
    asked: list[int] = field(default_factory=lambda: [0, 0])
    """Blocks that were handed out; those beyond `blocks` are on their way."""
    done: bool = False

    @property
    def selected(self) -> int:
        """The class that the selection draws so far chose."""
        return int(self.counts[0].argmax())


@dataclass(frozen=True)
class Block:
    """Some draws of one image, made in one call."""

    image: ImageCounts
    phase: int
    """Index into `PHASES`."""
    number: int
    rows: int
    """Draws that count; the last block of a phase may be drawn further than needed."""
