"""Rows and tables without a sampler: every part goes with its image, and what doesn't fit is refused by name."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rsctl.config.runs import CountSpec
from rsctl.errors import RefusedError
from rsctl.store import tables
from rsctl.store.checks import check_shard, count_table
from rsctl.store.extras import extra_columns
from rsctl.store.layout import Run, Store
from rsctl.store.rows import DistanceBounds, ImageRows, Rows
from rsctl.store.shards import Corrupt, Shard, encode_shard, read_shard
from rsctl.store.tables import (
    Reader,
    compacted_file,
    compacted_numbers,
    data_files,
    read_table,
    shard_file,
    shard_files,
)

PATH = Path("0000.1.h5")
SIZES = {"precision": "fp32", "n0": 10, "n": 20, "tile": 10, "block": 10}
COUNTS = np.array([[18, 1, 1], [17, 3, 0], [2, 15, 3]], np.int32)


SUMS = {
    "draws": np.array([10, 10]),
    "misses": np.array([[1, 1], [3, 0], [2, 3]]),
    "products": np.arange(9.0).reshape(3, 3),
}


def run_of(folder: Path, **changes: Any) -> Run:
    spec = CountSpec(
        model_hash="m", model_run="gaussian-digits-s0.5-aaaaaaaa", dataset="digits", dataset_parameters={}, split="test",
        sigma=0.5, seed=0, **{**SIZES, **changes},
    )  # fmt: skip
    return Store(folder).create(spec)


def plain(**changes: Any) -> Rows:
    columns: dict[str, Any] = {
        "index": np.array([4, 7, 9]), "label": np.array([0, 0, 1], np.int32), "counts": COUNTS, "n": np.full(3, 20),
        "selection_counts": np.array([[10, 0, 0], [8, 2, 0], [1, 9, 0]], np.int32), "seconds": np.array([0.1, 0.2, 0.3]),
        "fingerprint": np.array([0, 1, 0], np.int32),
    }  # fmt: skip
    return Rows(**{**columns, **changes})


def full(**changes: Any) -> Rows:
    """With everything that a sampler may keep."""
    parts = {
        "looks": {"draws": np.array([10, 20]), "counts": np.stack([COUNTS // 2, COUNTS], axis=1)},
        "shells": {
            "edges": np.array([1.5]),
            "counts": np.stack([COUNTS - COUNTS // 3, COUNTS // 3], axis=1),
        },
        "comparison": {"disagreements": COUNTS // 5},
        "gradient_sums": SUMS,
    }
    return plain(extras={**parts, **changes})


def findings(**changes: Any) -> DistanceBounds:
    columns: dict[str, Any] = {
        "index": np.array([4, 7, 9]), "label": np.array([0, 0, 1], np.int32), "seconds": np.array([0.1, 0.2, 0.3]),
        "fingerprint": np.array([0, 1, 0], np.int32), "predicted": np.array([0, 2, 1], np.int32),
        "lower": np.array([0.0, 0.1, 0.2]), "upper": np.array([0.5, np.inf, 0.3]),
        "adversarial": np.arange(12, dtype=np.float32).reshape(3, 1, 2, 2),
    }  # fmt: skip
    return DistanceBounds(**{**columns, **changes})


def parts(rows: ImageRows) -> dict[str, list[Any]]:
    """All that there is of each image."""
    told = {name: getattr(rows, name).tolist() for name in rows.COLUMNS}
    if isinstance(rows, DistanceBounds):
        return told | {"adversarial": [] if rows.adversarial is None else rows.adversarial.tolist()}
    assert isinstance(rows, Rows)
    for name, values in rows.extras.items():
        for key, array in values.items():
            shared = key in extra_columns()[name].shared
            told[f"{name}.{key}"] = [array.tolist()] * len(rows) if shared else array.tolist()
    return told


@pytest.mark.parametrize("rows", [plain(), full(), findings(), findings(adversarial=None)])
def test_every_part_goes_through_the_file_and_with_its_image(rows: ImageRows, tmp_path: Path) -> None:
    file = tmp_path / "0000.1.h5"
    file.write_bytes(encode_shard(Shard(rows, {"spec_hash": "h"}, [{}, {}])))
    again = read_shard(file).rows
    whole = parts(rows)
    assert parts(again) == whole
    assert {len(part) for part in whole.values()} <= {0, 3}
    for chosen in ([2, 0], [True, False, True], slice(1, None)):
        place = np.arange(3)[chosen]
        taken = parts(again.take(chosen))
        assert taken == {name: [part[i] for i in place] if part else [] for name, part in whole.items()}
    assert parts(rows.concatenate([again.take([0]), again.take([1, 2])])) == whole


def test_images_of_which_not_all_files_kept_the_adversarial_one_have_none() -> None:
    both = DistanceBounds.concatenate([findings(), findings(adversarial=None)])
    assert len(both) == 6
    assert both.adversarial is None


@pytest.mark.parametrize("rows", [plain(), full(), findings(), Rows.empty(3), DistanceBounds.empty()])
def test_rows_that_fit_have_no_problem(rows: ImageRows) -> None:
    assert rows.problem(2) == ""


def wrong(array: np.ndarray, place: Any, value: float) -> np.ndarray:
    array = array.copy()
    array[place] = value
    return array


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (plain(label=np.array([0, 0], np.int32)), "'label' has shape"),
        (plain(seconds=np.zeros(3, np.float32)), "'seconds' has shape"),
        (plain(fingerprint=np.array([0, 2, 0], np.int32)), "a fingerprint points outside"),
        (plain(fingerprint=np.array([0, -1, 0], np.int32)), "a fingerprint points outside"),
        (plain(counts=COUNTS[:, :2]), "differ in shape"),
        (plain(counts=COUNTS[:, 0], selection_counts=COUNTS[:, 0]), "has shape (3,)"),
        (plain(counts=wrong(COUNTS, 1, [21, 0, -1])), "a count is negative"),
        (plain(selection_counts=wrong(COUNTS, 1, [11, 0, -1])), "a count is negative"),
        (plain(n=np.array([20, 20, 21])), "counts of image 9 don't sum to n"),
        (
            full(looks={"draws": np.array([10]), "counts": np.stack([COUNTS // 2, COUNTS], axis=1)}),
            "looks of shape",
        ),
        (
            full(shells={"edges": np.array([1.0, 2.0]), "counts": np.stack([COUNTS, COUNTS], axis=1)}),
            "counts by shell",
        ),
        (full(comparison={"disagreements": COUNTS[:2]}), "disagreements of shape"),
        (full(gradient_sums={**SUMS, "products": np.zeros((3, 2))}), "sums of noise"),
        (full(gradient_sums={**SUMS, "misses": np.zeros((2, 2))}), "sums of noise"),
        (findings(fingerprint=np.array([0, 2, 0], np.int32)), "a fingerprint points outside"),
        (findings(lower=np.array([0.0, -0.1, 0.0])), "a radius is negative"),
        (findings(lower=np.array([0.0, np.nan, 0.0])), "a radius is negative"),
        (findings(upper=np.array([0.0, np.nan, 0.0])), "a distance is negative"),
        (findings(upper=np.array([0.0, -1.0, 0.0])), "a distance is negative"),
        (findings(adversarial=np.zeros((2, 1, 2, 2), np.float32)), "adversarial images"),
    ],
)
def test_rows_that_contradict_each_other_are_named(rows: ImageRows, says: str) -> None:
    assert says in rows.problem(2)


SUMMED = {"gradient": True}  # halves of 10 and 10 draws
COMPARED = {"precision": "bf16", "transfer": 30}


@pytest.mark.parametrize(
    ("spec", "rows", "says"),
    [
        ({}, plain(), ""),
        ({}, plain(n=np.array([20, 30, 20])), "not sampled with n = 20"),
        (
            {"stopping": "certify-at-radii"},
            plain(n=np.array([20, 10, 20]), extras={"looks": full().extras["looks"]}),
            "",
        ),
        (
            {},
            plain(selection_counts=np.array([[10, 0, 0], [8, 1, 0], [1, 9, 0]], np.int32)),
            "not sampled with n0 = 10",
        ),
        ({}, findings(), "its rows don't belong to a run in 'counts'"),
        (COMPARED, plain(), "disagreements between precisions"),
        (
            {},
            plain(extras={"comparison": {"disagreements": COUNTS // 5}}),
            "disagreements between precisions",
        ),
        (COMPARED, plain(extras={"comparison": {"disagreements": COUNTS // 5}}), ""),
        (COMPARED, Rows.empty(3), ""),
        (SUMMED, plain(), "its gradient sums don't match"),
        ({}, plain(extras={"gradient_sums": SUMS}), "its gradient sums don't match"),
        (SUMMED, plain(extras={"gradient_sums": SUMS}), ""),
        (
            SUMMED,
            plain(extras={"gradient_sums": {**SUMS, "draws": np.array([20, 0])}}),
            "its gradient sums don't match",
        ),
        (SUMMED, Rows.empty(3), ""),
    ],
)
def test_a_shard_that_is_none_of_its_run_is_named(
    spec: dict[str, Any], rows: ImageRows, says: str, tmp_path: Path
) -> None:
    run = run_of(tmp_path, **spec)
    attributes = {"spec_hash": run.spec.hash, "model_sha256": "a" * 64}
    shard = Shard(rows, attributes, [{}, {}])
    if says:
        with pytest.raises(Corrupt, match=says):
            check_shard(run, PATH, shard)
        return
    assert check_shard(run, PATH, shard) is shard
    for changes, message in (
        ({"spec_hash": "0"}, "another run"),
        ({"model_sha256": ""}, "doesn't name its checkpoint"),
    ):
        with pytest.raises(Corrupt, match=message):
            check_shard(run, PATH, replace(shard, attributes={**attributes, **changes}))


def put(run: Run, task: int, rows: Rows, functions: list[dict[str, Any]], *, attempt: int = 1, model: str = "a") -> Path:  # fmt: skip
    path = shard_file(run, task, attempt)
    path.parent.mkdir(exist_ok=True)
    attributes = {"spec_hash": run.spec.hash, "model_sha256": model * 64, "dimension": 64}
    path.write_bytes(encode_shard(Shard(rows, attributes, functions)))
    return path


def test_two_checkpoints_are_never_one_table(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    put(run, 0, plain(), [{}, {}])
    put(run, 1, plain(index=np.array([1, 2, 3])), [{}, {}], model="b")
    with pytest.raises(RefusedError, match="2 different checkpoints"):
        read_table(run)


def test_tables_of_other_classes_are_never_one(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    put(run, 0, plain(), [{}, {}])
    wide = {name: np.pad(getattr(plain(), name), ((0, 0), (0, 1))) for name in ("counts", "selection_counts")}
    put(run, 1, plain(index=np.array([1, 2, 3]), **wide), [{}, {}])
    with pytest.raises(RefusedError, match="number of classes"):
        read_table(run)


def test_a_merged_row_keeps_its_function_and_the_first_of_an_image_counts(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    assert len(read_table(run).rows) == 0
    put(run, 1, plain(label=np.array([1, 2, 0], np.int32)), [{"on": "x"}, {"on": "y"}])
    other = plain(index=np.array([9, 2, 5]), label=np.array([0, 0, 1], np.int32))
    put(run, 0, other, [{"on": "y"}, {"on": "z"}], attempt=2)
    put(run, 2, plain().take([0]), [{"on": "x"}])  # of another number of images
    table = read_table(run)
    # Position, function and label of the first attempt; of the second one what the first doesn't have.
    assert table.rows.index.tolist() == [2, 4, 5, 7, 9]
    on = [table.functions[number]["on"] for number in table.rows.fingerprint]
    assert on == ["z", "x", "y", "y", "x"]
    assert table.functions == [{"on": "x"}, {"on": "y"}, {"on": "z"}]
    assert table.rows.label.tolist() == [0, 1, 1, 2, 0]
    some = table.restrict([9, 4, 100])
    assert some.rows.index.tolist() == [4, 9]
    assert (some.functions, some.model_sha256) == (table.functions, "a" * 64)
    assert table.counts().dimension == 64


def test_files_come_in_order_of_attempt_and_shards_of_a_task_alone(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    files = [
        put(run, task, plain(), [{}, {}], attempt=attempt)
        for task, attempt in ((0, 2), (0, 10), (1, 1), (1, 3))
    ]
    assert shard_files(run, 0) == files[:2]
    assert shard_files(run, 1) == files[2:]
    assert shard_files(run, 2) == []
    assert data_files(run) == [files[2], files[0], files[3], files[1]]
    compacted = [compacted_file(run, number) for number in (1, 2, 10)]
    assert [file.name for file in compacted] == ["counts.h5", "counts.2.h5", "counts.10.h5"]
    for file in (*compacted, run.path / "counts.x.h5", run.path / "counts.h5.unusable-1"):
        file.touch()
    assert compacted_numbers(run) == [1, 2, 10]
    assert data_files(run) == [*compacted, files[2], files[0], files[3], files[1]]


def test_a_file_is_read_again_once_it_changes_and_not_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_of(tmp_path)
    file = put(run, 0, plain(), [{}, {}])
    put(run, 1, plain(index=np.array([1, 2, 3])), [{}, {}])
    read: list[str] = []

    def counting(path: Path) -> Shard:
        read.append(path.name)
        return read_shard(path)

    monkeypatch.setattr(tables, "read_shard", counting)
    reader = Reader(run, Rows)
    assert len(reader.read().rows) == len(reader.read().rows) == 6
    assert read == ["0000.1.h5", "0001.1.h5"]
    fresh = tmp_path / "fresh"
    fresh.write_bytes(encode_shard(Shard(plain(), {"spec_hash": "0"}, [{}, {}])))
    os.replace(fresh, file)
    for _ in range(2):  # a problem too is kept, and told every time
        table = reader.read()
        assert len(table.rows) == 3
        assert len(table.problems) == 1
        assert "it belongs to another run" in table.problems[0]
    assert read == ["0000.1.h5", "0001.1.h5", "0000.1.h5"]


def test_certificates_get_every_part_of_the_rows(tmp_path: Path) -> None:
    run = run_of(tmp_path, gradient=True)
    rows = plain(extras={"gradient_sums": {**SUMS, "products": np.tile([9.0, 0.0, 0.0], (3, 1))}})
    table = count_table(run.count_spec, rows, 64)
    for name in ("selection_counts", "counts", "n", "label", "extras"):
        assert getattr(table, name) is getattr(rows, name), name
    assert table.gradient_sums is not None
    assert table.gradient_sums.draws == (10, 10)
    for name in ("misses", "products"):
        assert getattr(table.gradient_sums, name) is rows.extras["gradient_sums"][name]
    assert (table.sigma, table.dimension, table.noise, table.stopping) == (0.5, 64, "gaussian", "fixed")
    compared = run_of(tmp_path, **COMPARED)
    assert (
        count_table(
            compared.count_spec, plain(extras={"comparison": {"disagreements": COUNTS // 5}}), 64
        ).compared
        == 30
    )
