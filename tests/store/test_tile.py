"""The tile of a table whose file leaves it to the device: settled on once, before the first draw, for all of its tasks."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from chain import Chain, tiny

from jobs.certify import tiles
from jobs.certify.sampler import Sampler
from jobs.certify.tiles import fastest, rates_of, samples_per_second, tile_of
from jobs.models.load import Executed
from rsctl.errors import InputError, RefusedError
from rsctl.store.files import publish, to_json
from rsctl.store.layout import Run
from rsctl.store.tables import read_table

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def run(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A table that isn't begun, and a GPU of which nothing is asked but its name."""
    monkeypatch.setattr(tiles, "device_name", lambda device: device.type)
    return chain.plan(tiny(certification={"tile": "auto"})).requests[1].task.run


def rate_of(known: dict[int, float], asked: list[int]) -> Any:
    def rate(tile: int) -> float:
        asked.append(tile)
        if tile not in known:
            raise RuntimeError("CUDA error: out of memory")
        return known[tile]

    return rate


def test_a_gpu_takes_the_smallest_of_the_fastest_and_is_asked_once(run: Run) -> None:
    asked: list[int] = []
    known = {400: 100.0, 1000: 250.0, 2000: 398.0, 4000: 405.0}
    assert tile_of(run, run.count_spec, GPU, rate_of(known, asked)) == 2000
    assert asked == [400, 1000, 2000, 4000, 8000]
    kept = json.loads((run.path / "tile.json").read_text())
    assert kept == {
        "tile": 2000,
        "device": "cuda",
        "samples_per_second": {str(tile): rate for tile, rate in known.items()},
    }
    assert tile_of(run, run.count_spec, GPU, rate_of({}, asked)) == 2000
    assert tile_of(run, run.count_spec, CPU, rate_of({}, asked)) == 2000
    assert len(asked) == 5


def test_large_blocks_are_not_timed_twice(run: Run) -> None:
    asked: list[int] = []
    large = run.count_spec.model_copy(update={"block": 1000})
    assert tile_of(run, large, GPU, rate_of({1000: 1.0, 2000: 1.0}, asked)) == 1000
    assert asked == [1000, 2000, 4000]


def test_of_two_tasks_that_settle_at_once_both_take_what_the_first_one_wrote(run: Run) -> None:
    def slow(tile: int) -> float:
        publish(run.path / "tile.json", to_json({"tile": 1000}))
        return float(tile)

    assert tile_of(run, run.count_spec, GPU, slow) == 1000


def test_a_cpu_takes_400_in_whole_blocks_without_a_stopwatch(run: Run) -> None:
    asked: list[int] = []
    odd = run.count_spec.model_copy(update={"block": 64})
    assert tile_of(run, odd, CPU, rate_of({}, asked)) == 448
    assert not asked
    written = run.count_spec.model_copy(update={"tile": 150})
    assert tile_of(run, written, CPU, rate_of({}, asked)) == 150


def test_a_spoilt_choice_is_named(run: Run) -> None:
    file = run.path / "tile.json"
    for text, error, says in (
        ('{"tile": 130}', RefusedError, "tile = 130 is no multiple of block = 50"),
        ('{"tile": "many"}', RefusedError, "tile = many"),
        ("{", InputError, "can't be read as JSON"),
        ("{}", InputError, "has no 'tile'"),
    ):
        file.write_text(text)
        with pytest.raises(error, match=says):
            tile_of(run, run.count_spec, CPU, rate_of({}, []))


def test_a_tile_that_is_not_faster_by_a_margin_is_not_taken() -> None:
    assert fastest({400: 100.0, 1000: 102.9}) == 400
    assert fastest({400: 100.0, 1000: 103.1}) == 1000
    assert fastest({400: 90.0, 1000: 100.0, 2000: 95.0}) == 1000


def test_only_memory_ends_the_search_and_not_before_one_fits() -> None:
    with pytest.raises(RuntimeError, match="out of memory"):
        rates_of([1, 2], rate_of({}, []))

    def broken(tile: int) -> float:
        if tile == 2:
            raise RuntimeError("shapes cannot be multiplied")
        return 1.0

    with pytest.raises(RuntimeError, match="shapes"):
        rates_of([1, 2], broken)


def test_the_table_is_that_of_the_tile_that_was_settled_on(
    chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another one than a CPU would take; its counts equal those of the same tile written out."""
    seen: set[int] = set()
    forward = Executed.forward

    def watch(self: Executed, x: torch.Tensor) -> torch.Tensor:
        seen.add(len(x))
        return forward(self, x)

    monkeypatch.setattr(Executed, "forward", watch)
    planned = chain.plan(tiny(certification={"tile": "auto", "max_images": 4, "shards": 1})).requests
    ours = planned[1].task.run
    publish(ours.path / "tile.json", to_json({"tile": 150}))
    chain.run(planned[0].task)
    seen.clear()
    chain.run(planned[1].task)
    assert seen == {150}
    explicit = tiny(name="explicit", certification={"tile": 150, "max_images": 4, "shards": 1})
    theirs = chain.run_all(explicit).requests[0].task.run
    assert ours.id != theirs.id
    one, other = read_table(ours), read_table(theirs)
    assert np.array_equal(one.rows.counts, other.rows.counts)
    assert one.functions == other.functions
    assert one.functions[0]["tile"] == 150


@pytest.mark.parametrize("block", [7, 100])
def test_what_is_timed_is_the_sampler_with_blocks_of_the_run(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Sampler] = []
    begin = Sampler.__init__

    def watch(self: Sampler, *args: Any, **kwargs: Any) -> None:
        begin(self, *args, **kwargs)
        made.append(self)

    monkeypatch.setattr(Sampler, "__init__", watch)

    class Zero(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.zeros(len(x), 3)

    tile = 10 * block
    rate = samples_per_second(Zero(), torch.zeros(4, 1, 2, 2), 3, 0.5, tile, block, CPU, 0.01)
    assert rate > 0
    assert {(one.tile, one.block) for one in made} == {(tile, block)}
    assert made[-1].drawn >= 4 * tile // 4
