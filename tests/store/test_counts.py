"""An image's counts depend on the checkpoint, the noise key and the executed function: on nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from chain import Chain, StopsAfter, tiny
from samplers import sampler_of
from torch import Tensor, nn

from jobs.certify.sampler import ImageCounts, Sampler
from rsctl.certificates import CountTable, find_certificate
from rsctl.plan.tasks import Task
from rsctl.results.sweep import sweep_results
from rsctl.store.files import replace
from rsctl.store.layout import Run
from rsctl.store.tables import StoredTable, data_files, read_table
from rsctl.store.task_context import Stopped, TaskContext

CPU = torch.device("cpu")


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def same(one: StoredTable, other: StoredTable) -> None:
    for name in ("index", "label", "selection_counts", "counts", "n"):
        assert np.array_equal(getattr(one.rows, name), getattr(other.rows, name)), name


def model_of(chain: Chain) -> Path:
    (run,) = chain.store.runs("models")
    return run.model_file


def certified(chain: Chain, model: Path | None = None, **certification: Any) -> StoredTable:
    """The table of the tiny sweep, in this process; with `model`, its training is taken over from there."""
    committed = chain.plan(tiny(certification=certification))
    for request in committed.requests:
        if request.task.run.kind == "models" and model is not None:
            replace(request.task.run.model_file, model.read_bytes())
        else:
            chain.run(request.task)
    return read_table(chain.counts_run())


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A second store: call it, and what follows happens there."""

    def go(name: str) -> None:
        monkeypatch.setenv("RSCTL_STORE", str(tmp_path / name))

    return go


def test_counts_are_equal_for_other_shards_neighbours_and_threads(
    chain: Chain, elsewhere: Any, threads: None
) -> None:
    first = certified(chain)
    assert len(first.rows) == 20
    assert (first.rows.n == 200).all()
    assert (first.rows.selection_counts.sum(axis=1) == 50).all()
    model = model_of(chain)
    for name, certification in {"one": {"shards": 1}, "five": {"shards": 5}}.items():
        elsewhere(name)
        same(first, certified(chain, model, **certification))
    # Other neighbours in the tiles: every second image only.
    elsewhere("skipping")
    some = certified(chain, model, skip=2, max_images=0)
    both = np.intersect1d(first.rows.index, some.rows.index)
    assert 3 <= len(both) < 20
    same(first.restrict(both), some.restrict(both))
    elsewhere("threads")
    values = tiny()
    values["resources"] = {**values["resources"], "certification": {"threads": 2, "gpus": 0}}
    committed = chain.plan(values)
    replace(committed.requests[0].task.run.model_file, model.read_bytes())
    for request in committed.requests[1:]:
        chain.run(request.task)
        assert torch.get_num_threads() == 2
    same(first, read_table(chain.counts_run()))


def test_counts_are_equal_whatever_tile_a_sampling_was_stopped_after(chain: Chain, elsewhere: Any) -> None:
    """20 images in tiles of two blocks: every possible tile is once the last before a resume."""
    first = certified(chain, shards=1, max_images=6)
    model = model_of(chain)
    tiles = 6 * (50 + 200) // 100
    for tile in range(tiles):
        elsewhere(f"stop-{tile}")
        committed = chain.plan(tiny(certification={"shards": 1, "max_images": 6}))
        replace(committed.requests[0].task.run.model_file, model.read_bytes())
        task = committed.requests[1].task
        stopped = chain.work(task, StopsAfter)
        stopped.tiles = tile
        from jobs.certify import count

        with pytest.raises(Stopped):
            count.main(stopped)
        drawn = blocks_in(task.run)
        assert drawn == (tile + 1) * 2, "the snapshot at a stop holds every block that was drawn"
        resumed = chain.run(task)
        assert resumed.claim.number == 2
        same(first, read_table(task.run))


def blocks_in(run: Run) -> int:
    """Blocks of 50 draws in a run's shards: finished images and those under way."""
    from rsctl.store.shards import read_shard

    total = 0
    for path in data_files(run):
        shard = read_shard(path)
        total += 5 * len(shard.rows) + sum(p.selection_blocks + p.estimation_blocks for p in shard.pending)
    return total


def test_stopping_again_and_again_changes_nothing(chain: Chain, elsewhere: Any) -> None:
    from jobs.certify import count

    first = certified(chain, shards=1, max_images=6)
    model = model_of(chain)
    elsewhere("stuttering")
    committed = chain.plan(tiny(certification={"shards": 1, "max_images": 6}))
    replace(committed.requests[0].task.run.model_file, model.read_bytes())
    task = committed.requests[1].task
    for _ in range(100):
        work = chain.work(task, StopsAfter)
        work.tiles = 0
        try:
            count.main(work)
        except Stopped:
            continue
        break
    assert work.claim.number == 16  # 15 tiles, one each, and a last look
    same(first, read_table(task.run))


def test_partial_counts_of_another_executed_function_are_dropped(
    chain: Chain, elsewhere: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half an image counted by each of two functions would be a certificate of neither."""
    from jobs.certify import count
    from jobs.models import load

    committed = chain.plan(tiny(certification={"shards": 1, "max_images": 6}))
    chain.run(committed.requests[0].task)
    task = committed.requests[1].task
    work = chain.work(task, StopsAfter)
    work.tiles = 3
    with pytest.raises(Stopped):
        count.main(work)
    monkeypatch.setattr(load, "REVISION", load.REVISION + 1)
    taken_over = count.CountWriter.take_over
    seen: list[int] = []

    def look(self: Any) -> None:
        taken_over(self)
        seen.append(len(self.partial))

    monkeypatch.setattr(count.CountWriter, "take_over", look)
    chain.run(task)
    assert seen == [0]
    table = read_table(task.run)
    assert len(table.functions) == 2  # whole images of both are kept, and say by which they were counted
    assert len(table.rows) == 6
    (told,) = [note for note in sweep_results(chain.store, "tiny").notes if "functions" in note]
    assert "2 executed functions, which differ in revision." in told


@pytest.mark.parametrize("name", ["twelve", "one"])
def test_an_extension_samples_only_the_new_images(chain: Chain, name: str) -> None:
    shards = {"twelve": 12, "one": 1}[name]
    before = certified(chain, shards=shards)
    (old,) = data_files(chain.counts_run())
    bytes_before = old.read_bytes()
    attempts = chain.attempts()
    committed = chain.plan(tiny(certification={"max_images": 40, "shards": shards}), update=True)
    assert [r.task.run.kind for r in committed.requests] == ["counts"] * shards
    new = {image for request in committed.requests for image in request.task.run.images(request.task.number)}
    assert new.isdisjoint(before.rows.index.tolist())
    assert len(new) == 20
    for request in committed.requests:
        chain.run(request.task)
    after = read_table(chain.counts_run())
    assert len(after.rows) == 40
    same(before, after.restrict(before.rows.index.tolist()))
    assert old.read_bytes() == bytes_before
    assert {k: v for k, v in chain.attempts().items() if k in attempts} == attempts
    assert chain.plan(tiny(certification={"max_images": 40}), update=True).requests == []


@pytest.mark.parametrize(
    ("n0", "n", "tile", "block"), [(50, 130, 100, 50), (7, 20, 100, 50), (1, 1, 60, 60), (100, 101, 100, 20)]
)
def test_draws_that_are_no_multiple_of_the_block_are_counted_exactly(
    n0: int, n: int, tile: int, block: int
) -> None:
    images = [blank(number) for number in range(3)]
    sampler = make_sampler(Linear(), n0=n0, n=n, tile=tile, block=block)
    for _ in sampler.run(iter(images)):
        pass
    for image in images:
        assert image.done
        assert image.counts.sum(dim=1).tolist() == [n0, n]


def test_selection_and_estimation_draws_are_not_the_same_noise() -> None:
    image = blank(0)
    list(make_sampler(Linear(margin=0.0), n0=1000, n=1000, tile=100, block=100).run(iter([image])))
    assert image.counts[0].tolist() != image.counts[1].tolist()


def test_a_linear_classifier_is_not_certified_beyond_its_true_radius_more_often_than_alpha() -> None:
    """f(x) = sign(w·x + b): the smoothed class changes exactly at margin / ||w||, whatever sigma.

    400 images of alpha = 0.1: 40 failures are expected at most; more than 60 have probability 1e-3.
    """
    true_radius, sigma, alpha, count = 0.35, 0.5, 0.1, 400
    images = [blank(number) for number in range(count)]
    sampler = make_sampler(Linear(margin=true_radius), n0=20, n=100, tile=1000, block=20)
    for _ in sampler.run(iter(images)):
        pass
    counts = np.stack([image.counts.numpy() for image in images])
    table = CountTable(counts[:, 0], counts[:, 1], counts[:, 1].sum(axis=1), sigma, 12)
    found = find_certificate("cohen").certify(table, alpha)
    right = found.predicted == 1
    assert right.mean() > 0.9
    wrong = (found.radius > true_radius) | (found.predicted == 0)
    assert 0 < wrong.sum() <= 60
    assert found.radius[right].mean() > 0.15  # and it isn't safe by being useless


class Linear(nn.Module):
    """Class 1 where w·x + b > 0, with the blank image at `margin` from the boundary."""

    def __init__(self, margin: float = 0.1) -> None:
        super().__init__()
        self.w = torch.arange(12.0).cos()
        self.b = margin * self.w.norm() - 0.5 * self.w.sum()

    def forward(self, x: Tensor) -> Tensor:
        score = x.flatten(1) @ self.w + self.b
        return torch.stack([-score, score], dim=1)


def blank(position: int) -> ImageCounts:
    return ImageCounts(position, 1, torch.full((3, 2, 2), 0.5), torch.zeros(2, 2, dtype=torch.int64))


def make_sampler(model: nn.Module, *, n0: int, n: int, tile: int, block: int) -> Sampler:
    return sampler_of(model, 2, sigma=0.5, key=(3,), n0=n0, n=n, tile=tile, block=block, device=CPU)


@pytest.mark.parametrize("notices", [True, False])
def test_two_live_copies_of_a_task_change_no_count(chain: Chain, elsewhere: Any, notices: bool) -> None:
    """Between two tiles of one copy another does the whole task; the first goes on, or sees it and stops."""
    from jobs.certify import count

    first = certified(chain, shards=1, max_images=6)
    model = model_of(chain)
    elsewhere("copies")
    committed = chain.plan(tiny(certification={"shards": 1, "max_images": 6}))
    replace(committed.requests[0].task.run.model_file, model.read_bytes())
    task: Task = committed.requests[1].task

    class Overtaken(StopsAfter):
        tiles = 6

        def snapshot_due(self) -> bool:
            return True

        def stopping(self) -> str:
            self.tiles -= 1
            if self.tiles == 0:
                chain.run(task)
                self._last_look = -1e9
                same(first, read_table(task.run))
            return TaskContext.stopping(self) if notices else ""

    older = chain.work(task, Overtaken)
    if notices:
        with pytest.raises(Stopped, match="superseded by a later attempt"):
            count.main(older)
    else:
        count.main(older)
    same(first, read_table(task.run))


@pytest.mark.parametrize("further", [{}, {"gradient": True, "certificates": ["second-order"]}])
def test_of_an_image_that_is_done_only_numbers_are_kept(
    chain: Chain, monkeypatch: pytest.MonkeyPatch, further: dict[str, Any]
) -> None:
    """Pixels and sums of noise are as large as images: memory would grow with how many there are."""
    from jobs.certify import count

    writers: list[Any] = []

    class Watched(count.CountWriter):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            writers.append(self)

    monkeypatch.setattr(count, "CountWriter", Watched)
    assert len(certified(chain, **further).rows) == 20
    rows = [image for writer in writers for image in writer.rows]
    assert len(rows) == 20
    assert not any(image.pixels.numel() or image.kept for image in rows)
