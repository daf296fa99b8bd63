"""Files of counts that an earlier version wrote: today's are equal to them, array by array, and sampling goes on from them.

The files in `tests/golden` were made before recorders existed, with the network below in place of a trained one. Only what
depends on the machine or the moment differs: times, the version, the state of the code.
"""

from __future__ import annotations

import shutil
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from chain import Chain, StopsAfter, tiny
from torch import Tensor, nn

from jobs.certify import count
from rsctl.config import tables
from rsctl.plan.tasks import Task
from rsctl.store.compaction import compact
from rsctl.store.files import replace
from rsctl.store.shards import read_shard
from rsctl.store.tables import read_table, shard_file
from rsctl.store.task_context import Stopped

GOLDEN = Path(__file__).parents[1] / "golden"
SIZES = {"n0": 30, "n": 130, "tile": 80, "block": 20, "max_images": 4, "shards": 1}
BF16 = {"precision": {"certification": "bf16"}}
SHELLS: dict[str, Any] = {"shells": [0.3, 0.8], "certificates": ["dsrs"]}
SUMS: dict[str, Any] = {"gradient": True, "certificates": ["second-order"]}
LOOKS: dict[str, Any] = {
    "stopping": "certify-at-radii",
    "stop_radii": [0.1],
    "certificates": ["sequential"],
    "alpha": 0.05,
}
COMPARED: dict[str, Any] = {"transfer": 110, "certificates": ["transfer"]}
KINDS: dict[str, tuple[dict[str, Any], int]] = {
    "plain": ({}, 4),
    "shells": (SHELLS, 4),
    "sums": (SUMS, 4),
    "looks": ({**LOOKS, "n": 400}, 5),
    "compared": (COMPARED, 8),
    "all": ({**SHELLS, **SUMS, **COMPARED, "certificates": ["dsrs", "second-order", "transfer"]}, 8),
}
"""What is measured, and after how many tiles sampling stops: some images are done then, and some under way."""
CHANGING = {"version", "git", "code"}
ROUNDED = ("sums", "products", "radius", "edges")
"""Arrays whose last digits another processor, or another scipy, may round otherwise."""


class Two(nn.Module):
    """Classes 0, 1 and 2 by two dim pixels; nothing is rounded on the way, so that all machines count alike."""

    def __init__(self, shift: float = 0.0) -> None:
        super().__init__()
        self.shift = shift

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(1)
        logits = torch.zeros(len(x), 10)
        logits[:, 0] = 0.25 + self.shift
        logits[:, 1], logits[:, 2] = flat[:, 0], flat[:, 7]
        return logits

    def described(self, device: torch.device, tile: int, block: int) -> dict[str, object]:
        return {"network": "two", "shift": self.shift, "tile": tile, "block": block}


def network(_work: Any, _images: Any, precision: str, *_: Any) -> tuple[Any, str]:
    return Two(0.0625 if precision == "fp32" else 0.0), "a" * 64


def task_of(chain: Chain, kind: str, monkeypatch: pytest.MonkeyPatch) -> Task:
    monkeypatch.setattr(count, "_network", network)
    # Another scipy might give others, and the run another name.
    monkeypatch.setattr(tables, "shell_edges", lambda shares, *_: [3.75, 4.375] if shares else [])
    changes = {**tiny(certification={**SIZES, **KINDS[kind][0]}), "name": f"golden-{kind}"}
    if kind in ("compared", "all"):
        changes |= BF16
    return chain.plan(changes).requests[1].task


def sample(chain: Chain, task: Task, tiles: int | None) -> Path:
    """The file of one attempt, stopped after so many tiles; before the run is compacted."""
    work = chain.work(task, StopsAfter)
    work.tiles = 10**6 if tiles is None else tiles
    with nullcontext() if tiles is None else pytest.raises(Stopped):
        count.main(work)
    return shard_file(task.run, task.number, work.claim.number)


def content(path: Path) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Every array, those that may be rounded apart, and every attribute that doesn't depend on the machine or the moment."""
    arrays: dict[str, Any] = {}
    rounded: dict[str, Any] = {}
    with h5py.File(path) as file:
        attributes = {f"/{name}": value for name, value in file.attrs.items() if name not in CHANGING}

        def visit(name: str, item: Any) -> None:
            attributes.update({f"{name}/{key}": value for key, value in item.attrs.items()})
            if isinstance(item, h5py.Dataset):
                options = (item.compression, item.compression_opts, item.shuffle)
                kept = None if name.endswith(("seconds", *ROUNDED)) else item[()].tolist()
                arrays[name] = (str(item.dtype), item.shape, options, kept)
                if name.endswith(ROUNDED):
                    rounded[name] = item[()]

        file.visititems(visit)
    return arrays, rounded, attributes


def same(found: Path, expected: Path, **attributes: Any) -> None:
    """Raises unless the two files are equal but for these attributes."""
    (ours, near, own), (theirs, there, known) = content(found), content(expected)
    assert ours == theirs
    assert {**own, **attributes} == {**known, **attributes}
    for name, values in near.items():
        np.testing.assert_allclose(
            values, there[name], rtol=1e-6, atol=100 if name.endswith("sums") else 1e-6, err_msg=name
        )


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_what_is_written_of_a_stopped_sampling_is_what_it_was(
    kind: str, chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = task_of(chain, kind, monkeypatch)
    written = sample(chain, task, KINDS[kind][1])
    shard = read_shard(written)
    assert len(shard.rows)
    assert shard.pending
    same(written, GOLDEN / f"{kind}-pending.h5")


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_sampling_goes_on_from_what_an_earlier_version_left(
    kind: str, chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = task_of(chain, kind, monkeypatch)
    left = shard_file(task.run, task.number, chain.work(task).claim.number)
    left.parent.mkdir(parents=True)
    shutil.copy(GOLDEN / f"{kind}-pending.h5", left)
    assert read_table(task.run).problems == []
    before = read_shard(left)
    begun = {int(image.index): int(image.estimation_blocks) for image in before.pending}
    sample(chain, task, None)
    assert begun
    (compacted,) = [path for path in task.run.path.iterdir() if path.suffix == ".h5"]
    same(compacted, GOLDEN / f"{kind}-finished.h5", **{"/attempt": 1})


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_finished_files_of_an_earlier_version_are_read(
    kind: str, chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = task_of(chain, kind, monkeypatch)
    replace(task.run.path / "counts.h5", (GOLDEN / f"{kind}-finished.h5").read_bytes())
    table = read_table(task.run)
    assert table.problems == []
    assert len(table.rows) == 4
    assert np.array_equal(table.counts().counts.sum(axis=1), table.rows.n)
    assert not compact(task.run)
