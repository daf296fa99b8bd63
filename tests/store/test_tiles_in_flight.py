"""As a GPU is given them: many tiles at once, and the next ones before the counts of the last are fetched."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from samplers import sampler_of
from torch import Tensor, nn

from jobs.certify.sampler import ImageCounts, Sampler
from rsctl.certificates.stopping import CertifyAtRadii
from rsctl.errors import RefusedError

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
    return sampler_of(
        Corner(), 3, sigma=0.5, key=(5,), n0=N0, n=N, tile=TILE, block=BLOCK, device=CPU, **KINDS[kind]
    )


def results(image: ImageCounts) -> list[list[int]]:
    kept = [column for state in image.kept.values() for column in state.values()]
    return [part.flatten().tolist() for part in (image.counts, *kept)] + [image.blocks]


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


class Spoilt(Corner):
    """One logit of one row isn't a number."""

    def __init__(self, row: int, column: int, value: float) -> None:
        super().__init__()
        self.place, self.value = (row, column), value

    def forward(self, x: Tensor) -> Tensor:
        logits = super().forward(x)
        logits[self.place] = self.value
        return logits


def run(model: nn.Module, images: list[ImageCounts], **options: Any) -> None:
    draws = {"n0": BLOCK, "n": BLOCK, **options}
    for _ in sampler_of(
        model, 3, sigma=0.5, key=(5,), tile=TILE, block=BLOCK, device=CPU, **draws
    ).run(iter(images)):  # fmt: skip
        pass


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(("row", "column"), [(0, 0), (BLOCK, 1), (TILE - 1, 2)])
def test_one_logit_that_is_no_number_refuses_its_tile(row: int, column: int, value: float) -> None:
    """The largest of logits with a NaN is a class like any other: it would be counted."""
    images = made(3)
    with pytest.raises(RefusedError, match="not numbers near image 0"):
        run(Spoilt(row, column, value), images)
    assert not any(image.counts.any() for image in images)


def test_a_logit_of_a_row_that_fills_the_tile_up_does_not_matter() -> None:
    """One image has two of the three blocks; and of a block that is drawn further than needed the rest doesn't count."""
    for row, n in ((TILE - 1, BLOCK), (2 * BLOCK - 1, BLOCK - 1)):
        (image,), (good,) = made(1), made(1)
        run(Spoilt(row, 1, math.nan), [image], n=n)
        run(Corner(), [good], n=n)
        assert image.done
        assert torch.equal(image.counts, good.counts)
        assert image.counts.sum(dim=1).tolist() == [BLOCK, n]
    with pytest.raises(RefusedError, match="not numbers"):
        run(Spoilt(2 * BLOCK - 2, 1, math.nan), made(1), n=BLOCK - 1)


@pytest.mark.parametrize("which", ["model", "reference"])
def test_a_comparison_refuses_logits_that_are_no_numbers_too(which: str) -> None:
    # The last row counts in the comparison alone, where all of a tile is of one image.
    spoilt = Spoilt(TILE - 1, 2, math.nan)
    networks = (spoilt, Corner()) if which == "model" else (Corner(), spoilt)
    (image,) = images = made(1)
    with pytest.raises(RefusedError, match="not numbers near image 0"):
        run(networks[0], images, reference=networks[1], transfer=TILE)
    assert not any(column.any() for column in image.kept["comparison"].values())
    assert not image.done
    run(networks[0], made(1), reference=networks[1], transfer=TILE - 1)


@pytest.mark.parametrize("classes", [2, 4])
def test_a_network_of_other_classes_is_refused_before_anything_is_counted(classes: int) -> None:
    class Other(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.flatten(1)[:, :classes]

    images = made(1)
    with pytest.raises(RefusedError, match=rf"gives \(60, {classes}\) for a tile of 60 images"):
        run(Other(), images)
    assert not images[0].counts.any()


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
