"""As a GPU is given them: many tiles at once, and the next ones before the counts of the last are fetched."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from jobs.sampling.sampler import ImageCounts, Sampler
from rsctl.certificates.stopping import CertifyAtRadii

CPU = torch.device("cpu")
N0, N, TILE, BLOCK = 30, 1000, 60, 20


class Corner(nn.Module):
    """Class 0, 1 or 2 by the first two coordinates; the weights shift a boundary."""

    def __init__(self, shift: float = 0.0) -> None:
        super().__init__()
        self.shift = shift

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(1)
        return torch.stack([torch.full((len(x),), 0.4 + self.shift), flat[:, 0], flat[:, 1]], dim=1)


KINDS: dict[str, dict[str, Any]] = {
    "fixed": {},
    "sequential": {"rule": CertifyAtRadii((0.25,), 0.5, 0.01, N, BLOCK)},
    "gradient": {"gradient": True},
    "shells": {"shell_edges": [1.8, 2.2]},
    "transfer": {"reference": Corner(0.02), "transfer": 150},
}


def made(count: int) -> list[ImageCounts]:
    """Some far from a boundary and some near."""
    return [
        ImageCounts(i, 0, torch.linspace(-0.2, 0.1 * i, 16).reshape(1, 4, 4), torch.zeros(2, 3, dtype=torch.int64))
        for i in range(count)
    ]  # fmt: skip


def sampler(kind: str) -> Sampler:
    return Sampler(
        Corner(), 3, sigma=0.5, seed=5, n0=N0, n=N, tile=TILE, block=BLOCK, device=CPU, **KINDS[kind]
    )


def results(image: ImageCounts) -> list[list[int]]:
    kept = (image.counts, image.shells, image.sums, image.disagreements, *image.looks)
    return [part.flatten().tolist() for part in kept if part is not None] + [image.others, image.blocks]


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_tiles_in_flight_count_what_one_tile_after_the_other_counts(kind: str) -> None:
    one_by_one, together = made(7), made(7)
    for _ in sampler(kind).run(iter(one_by_one)):
        pass
    ahead = sampler(kind)
    ahead.at_once, ahead.flights = 4, 2
    launched, most = 0, 0
    launch, collect = ahead._launch, ahead._collect

    def counted_launch(blocks: list[Any]) -> Any:
        nonlocal launched, most
        launched += 1
        most = max(most, launched)
        return launch(blocks)

    def counted_collect(tiles: list[Any]) -> list[ImageCounts]:
        nonlocal launched
        launched -= len(tiles)
        return collect(tiles)

    ahead._launch, ahead._collect = counted_launch, counted_collect  # type: ignore[method-assign]
    for touched in ahead.run(iter(together)):
        for image in touched:
            # What a stop would keep at this moment: whole blocks, and the counts of just these.
            drawn = [
                min(blocks * BLOCK, most_of) for blocks, most_of in zip(image.blocks, (N0, N), strict=True)
            ]
            assert image.counts.sum(dim=1).tolist() == drawn
    assert all(image.done for image in together)
    assert [results(image) for image in together] == [results(image) for image in one_by_one]
    assert 4 < most <= 8
    assert launched == 0
    if kind == "sequential":
        assert len({tuple(image.blocks) for image in together}) > 1  # some stopped earlier


def test_an_image_is_charged_the_time_between_two_fetches_once() -> None:
    """While tiles fly, the host's clock goes on: what all images are charged is no more than has passed."""
    import time

    images = made(7)
    ahead = sampler("fixed")
    ahead.at_once, ahead.flights = 4, 2
    started = time.perf_counter()
    for _ in ahead.run(iter(images)):
        pass
    passed = time.perf_counter() - started
    assert 0 < sum(image.seconds for image in images) <= passed
