"""The base of recorders: what the sampling loop calls, with defaults for what most of them don't need."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from jobs.certify.blocks import Block, ImageCounts, State
from jobs.certify.noisy_inputs import NoisyInputs
from jobs.device import to_device
from rsctl.catalog import known_extras
from rsctl.catalog.declare import Extra, Parameters
from rsctl.config.runs import CountSpec
from rsctl.errors import RefusedError


class TileSource(Protocol):
    """The part of `jobs.certify.sampler.Sampler` that draws of a recorder's own may use."""

    model: nn.Module
    classes: int
    inputs: NoisyInputs
    block: int
    """Rows of a block."""
    per_tile: int
    """Blocks of a tile."""

    def empty_tile(self, image: ImageCounts) -> Tensor: ...


@dataclass(frozen=True)
class Sampling:
    """The run that recorders are made for."""

    spec: CountSpec
    dimension: int
    """Coordinates of an image."""
    network: Callable[[str], nn.Module]
    """Loads the run's network as executed in a precision."""


@dataclass(frozen=True)
class Observed:
    """A tile after the forward pass; all tensors are on the device."""

    blocks: list[Block]
    kept: dict[int, Tensor]
    """By place of an estimation block in the tile: what `of_noise` returned."""
    logits: Tensor
    """(tile, classes)."""
    predicted: Tensor
    """int64 (tile,)."""
    counted: Tensor
    """bool (tile,): rows that count."""
    size: int
    """Rows of a block."""


class Recorder(ABC):
    """One measurement of the estimation draws.

    The loop calls, for each estimation block, `of_noise` and `observe` when it is drawn, and `add` once its tile is found
    to be sound. What is kept of an image must depend on its own blocks alone, added in order: then neither its neighbours in
    a tile nor an interruption changes a bit.
    """

    observes = True
    """False where `of_noise` and `observe` have nothing to do."""
    draws_later = False
    """True where `later` makes draws of its own."""

    def __init__(self, name: str) -> None:
        self.name = name

    @classmethod
    @abstractmethod
    def for_run(cls, name: str, sampling: Sampling) -> Recorder:
        """The recorder of a run."""

    @abstractmethod
    def start(self, image: ImageCounts) -> State:
        """The tensors of an image before its first draw, by column."""

    def of_noise(self, noise: Tensor) -> Tensor:
        """The part of a block's noise (rows, C, H, W) that `observe` needs, one row per draw. It stays in memory during the forward pass."""
        return noise

    def observe(self, block: Block, kept: Tensor, logits: Tensor, predicted: Tensor) -> State:
        """The contribution of a block's draws, for `add`; those that don't count are left out. On a GPU nothing here may wait for a result."""
        raise NotImplementedError(type(self).__name__)

    def observe_tile(self, seen: Observed) -> Mapping[int, State]:
        """`observe` for all estimation blocks of a tile, by place."""
        found = {}
        for place, kept in seen.kept.items():
            block, first = seen.blocks[place], place * seen.size
            rows = slice(first, first + block.rows)
            found[place] = self.observe(block, kept[: block.rows], seen.logits[rows], seen.predicted[rows])
        return found

    def add(self, state: State, block: Block, part: State) -> None:
        """Merge what was observed of the next block into the tensors of its image."""
        for name, value in part.items():
            state[name] += value

    def pause(self, image: ImageCounts, *, selected: bool) -> int | None:
        """The number of estimation blocks after which `settled` has to be called, None for all of them.

        `selected`: all selection draws are counted.
        """
        return None

    def settled(self, image: ImageCounts) -> bool:
        """True where an image needs no more draws; called at each pause."""
        return False

    def later(self, image: ImageCounts, sampler: TileSource) -> Iterator[None]:
        """Draws of its own once an image is counted; yields after each tile, where sampling may be interrupted."""
        yield from ()

    def described(self, device: torch.device, tile: int, block: int) -> dict[str, object]:
        """Further entries of the description of the function as executed."""
        return {}

    def under_way(self, state: State) -> dict[str, NDArray[Any]]:
        """The columns of an image under way."""
        return {name: value.cpu().numpy() for name, value in state.items()}

    def resume(self, image: ImageCounts, columns: Mapping[str, NDArray[Any]]) -> State:
        """The opposite of `under_way`."""
        return {
            name: to_device(torch.from_numpy(np.array(columns[name])), value.device).to(value.dtype)
            for name, value in self.start(image).items()
        }

    def finish(self, state: State) -> dict[str, NDArray[Any]]:
        """The columns of an image that is done."""
        return self.under_way(state)


DTYPES = {"i4": torch.int64, "i8": torch.int64, "f4": torch.float64, "f8": torch.float64}
"""Types that columns are added up in."""


class ExtraRecorder(Recorder):
    """A recorder that a plugin declares: what `observe` returns is added up in the declared columns."""

    def __init__(self, extra: Extra, parameters: Any) -> None:
        super().__init__(extra.name)
        self.extra, self.parameters = extra, parameters

    @classmethod
    def for_run(cls, name: str, sampling: Sampling) -> Recorder:
        extra = known_extras()[name]
        values = sampling.spec.extras[name]["parameters"]
        parameters: Parameters = extra.parameters.model_validate(values, strict=False)
        return cls(extra, parameters)

    def start(self, image: ImageCounts) -> State:
        classes, dimension = image.counts.shape[1], image.pixels.numel()
        return {
            name: torch.zeros(
                column.sides(classes, dimension), dtype=DTYPES[column.kind], device=image.pixels.device
            )
            for name, column in self.extra.sampled.items()
        }

    def add(self, state: State, block: Block, part: State) -> None:
        found = {name: tuple(value.shape) for name, value in part.items()}
        if found != (wanted := {name: tuple(value.shape) for name, value in state.items()}):
            raise RefusedError(
                f"the recorder of '{self.name}' observed columns of shapes {found}; its declaration has {wanted}. "
                "Correct the plugin."
            )
        super().add(state, block, part)
