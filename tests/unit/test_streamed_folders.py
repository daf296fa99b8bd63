"""Folders that don't fit in memory are read from their files, and nothing of a result tells it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from chain import Chain, tiny
from folders import shapes
from PIL import Image

import jobs.data.memory_limit as room
from jobs.data import load
from jobs.data.images import ArrayImages, FileImages
from rsctl.catalog.shape import shape_of
from rsctl.store.files import replace
from rsctl.store.tables import read_table
from rsctl.store.task_context import Stopped, TaskContext


@pytest.fixture
def mixed(chain: Chain) -> Path:
    """Three classes in which there are also a deep grey PNG, an oblong JPEG, and one that an EXIF entry turns."""
    root = chain.place.data / "own"
    shapes(root, train=(9, 8, 7), test=(3, 3, 3), size=20)
    random = np.random.default_rng(1)
    Image.fromarray(random.integers(0, 65536, (24, 24), dtype=np.uint16)).save(root / "train/disc/deep.png")
    oblong = Image.fromarray(random.integers(0, 256, (18, 31, 3), dtype=np.uint8))
    oblong.save(root / "train/square/oblong.jpg")
    turned = Image.Exif()
    turned[0x0112] = 6
    oblong.save(root / "train/triangle/turned.jpg", exif=turned)
    return root


def sweep(**changes: Any) -> dict[str, Any]:
    dataset = {"name": "imagefolder", "path": "own", "size": 16, "orientation": "exif"}
    training = {"epochs": 2, "batch_size": 8, "warmup_epochs": 0.0}
    few = {"n0": 10, "n": 50, "max_images": 4, "shards": 1, "tile": 50, "block": 50}
    return tiny(dataset=dataset, training=training, certification=few, **changes)


def results(chain: Chain) -> tuple[bytes, list[list[int]]]:
    """The model file and the counts."""
    (model,) = chain.store.runs("models")
    return model.model_file.read_bytes(), read_table(chain.counts_run()).rows.counts.tolist()


class StopsOnce(TaskContext):
    def stopping(self) -> str:
        self.steps = getattr(self, "steps", 0) + 1
        if self.steps > 3:
            self.request_stop("test")
        return super().stopping()


@pytest.mark.parametrize("method", ["gaussian", "smoothadv"])
def test_a_run_that_streams_is_the_run_that_holds_bit_for_bit(
    chain: Chain, mixed: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], method: str
) -> None:
    held = chain.run_all(sweep(method=method))
    first = results(chain)
    assert "read from their files" not in capfd.readouterr().out
    monkeypatch.setenv("RSCTL_STORE", str(chain.folder / "other"))
    monkeypatch.setattr(room, "HELD_MOST", 5000)
    streamed = chain.plan(sweep(method=method))
    assert [r.task.key for r in streamed.requests] == [r.task.key for r in held.requests]
    # Stopped halfway, and held again from there: what holds and what streams are one.
    with pytest.raises(Stopped):
        chain.run(streamed.requests[0].task, StopsOnce)
    assert "images are read from their files" in capfd.readouterr().out
    monkeypatch.setattr(room, "HELD_MOST", 2**30)
    chain.run(streamed.requests[0].task)
    monkeypatch.setattr(room, "HELD_MOST", 0)
    for request in streamed.requests[1:]:
        chain.run(request.task)
    assert results(chain) == first


def test_batches_are_the_same_in_every_way_of_asking(
    chain: Chain, mixed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(**options: Any) -> Any:
        return load(
            "imagefolder",
            {"path": "own", "size": 16, "orientation": "exif"},
            "train",
            chain.place.data,
            **options,
        )

    held, some = read(), read(positions=[7, 3, 25])
    monkeypatch.setattr(room, "HELD_MOST", 100)
    streamed, few = read(), read(positions=[7, 3, 25])
    assert (type(held), type(streamed)) == (ArrayImages, FileImages)
    assert held.fingerprint == streamed.fingerprint
    assert torch.equal(held.labels, streamed.labels)
    assert torch.equal(few.batch(torch.arange(3))[0], some.batch(torch.arange(3))[0])
    rows = [torch.tensor([5, 0, 26]), torch.tensor([1])]
    for augment in (True, False):
        for (a, y), (b, z) in zip(
            held.stream(rows, 3, augment=augment),
            streamed.stream(rows, 3, augment=augment, workers=1),
            strict=True,
        ):
            assert torch.equal(a, b)
            assert torch.equal(y, z)


def test_what_is_held_depends_on_what_the_task_may_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gigabyte = 2**30
    for name in ("PROCESS", "SYSTEM"):
        monkeypatch.setattr(room, name, tmp_path / name)
    for variable in ("SLURM_MEM_PER_NODE", "SLURM_MEM_PER_CPU", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(variable, raising=False)
    assert not room.too_large(7 * gigabyte)
    assert room.too_large(9 * gigabyte) == "9.0 GB, of which 8.0 GB would be held"
    replace(tmp_path / "SYSTEM", b"MemTotal: 9 kB\nMemAvailable: 4194304 kB\n")
    assert room.too_large(3 * gigabyte).endswith("2.0 GB would be held")
    replace(tmp_path / "PROCESS", b"4:memory:/job\n0::/slice/job\n")
    monkeypatch.setattr(room, "CGROUPS", tmp_path / "groups")
    replace(tmp_path / "groups/slice/memory.max", str(3 * gigabyte).encode())
    replace(tmp_path / "groups/slice/job/memory.max", b"max\n")
    assert room.too_large(3 * gigabyte).endswith("1.5 GB would be held")
    monkeypatch.setenv("SLURM_MEM_PER_CPU", "512")
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", "4")
    assert room.too_large(3 * gigabyte).endswith("1.0 GB would be held")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert room.too_large(3 * gigabyte).endswith("0.5 GB would be held")
    monkeypatch.setenv("SLURM_MEM_PER_CPU", "0")  # the whole node
    assert room.too_large(3 * gigabyte).endswith("0.8 GB would be held")


def test_bytes_are_those_of_the_pixels(chain: Chain, mixed: Path) -> None:
    shape = shape_of("imagefolder", {"path": "own", "size": 16}, chain.place.data)
    images = load("imagefolder", {"path": "own", "size": 16}, "train", chain.place.data)
    assert shape.held_bytes(len(images)) == images.pixels.nbytes
