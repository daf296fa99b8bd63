"""Numbers of a table that is still being filled: how far they mislead where an image takes as long as its question stays open."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from report_cases import make_row, make_store

from rsctl.certificates import Looks
from rsctl.certificates.stopping import RadiusWithin
from rsctl.report.begun import about_late_images, overstatement
from rsctl.report.notes import warnings
from rsctl.report.rows import sweep_results
from rsctl.store.files import replace
from rsctl.store.shards import Rows, Shard, encode_shard

SEQUENTIAL = {
    "n0": 10,
    "n": 1000,
    "stopping": "radius-within",
    "certificates": ["sequential"],
    "radii": [0.0],
}


@pytest.mark.parametrize(
    ("share", "slow", "shards", "width", "until"),
    [
        (0.5, 30, 1, 1, 10),
        (0.5, 30, 1, 1, 100),
        (0.5, 30, 4, 1, 30),
        (0.7, 100, 1, 4, 60),
        (0.3, 5, 1, 1, 20),
    ],
)
def test_the_finished_beginning_reads_high_by_no_more_than_is_said(
    share: float, slow: float, shards: int, width: int, until: float
) -> None:
    """Certified images take about 1 unit of time and the others `slow`; each shard has `width` of them under way."""
    rng = np.random.default_rng(0)
    excess, said = [], []
    for _ in range(600):
        certified = rng.random(120) < share
        takes = np.where(certified, 1, slow) * rng.exponential(1, 120)
        ends = np.empty(120)
        for shard in range(shards):
            free = np.zeros(width)
            for image in range(shard, 120, shards):
                place = free.argmin()
                free[place] += takes[image]
                ends[image] = free[place]
        done = ends <= until
        beginning = 120 if done.all() else int(done.argmin())
        if beginning:
            excess.append(certified[:beginning].mean() - share)
            said.append(overstatement(beginning, 120))
    assert np.mean(excess) < np.mean(said)
    if (slow, until) == (30, 10):
        assert np.mean(excess) > 0.1  # it does read high in the beginning


def test_it_is_said_while_images_are_missing() -> None:
    assert "up to 20.0 points too high" in about_late_images([(4, 100)])
    assert "up to 33.3 points" in about_late_images([(100, 100), (2, 100), (9, 100)])
    assert not about_late_images([(100, 100)])
    assert not about_late_images([(0, 100)])
    assert not about_late_images([])


def write_looks(run: Any, images: int) -> None:
    """A sequential table with the first images of the run's order."""
    draws = RadiusWithin(0.02, 0.5, 0.001, 1000, 100).draws
    looks = np.zeros((images, len(draws), 10), np.int32)
    looks[:, :, 0] = draws
    selection = np.zeros((images, 10), np.int32)
    selection[:, 0] = 10
    none = np.zeros(images)
    rows = Rows(
        index=np.array(run.images(0)[:images], np.int64), label=none.astype(np.int32), selection_counts=selection, counts=looks[:, -1],
        n=np.full(images, draws[-1]), seconds=none, fingerprint=none.astype(np.int32), looks=Looks(draws, looks),
    )  # fmt: skip
    attributes = {"spec_hash": run.spec.hash, "model_sha256": run.spec.hash, "dimension": 64}
    replace(run.path / "counts.h5", encode_shard(Shard(rows, attributes, [{"device": "none"}]), {}, 0.001))


def test_a_table_that_stops_early_says_it_until_all_images_are_in(tmp_path: Path) -> None:
    store, (run,) = make_store(tmp_path, counts=False, certification=SEQUENTIAL)
    write_looks(run, 49)
    assert any("up to 2.0 points too high" in note for note in sweep_results(store, "sweep").notes)
    write_looks(run, 360)
    assert not any("too high" in note for note in sweep_results(store, "sweep").notes)


def test_a_table_of_fixed_n_has_no_late_images(tmp_path: Path) -> None:
    store, (run,) = make_store(tmp_path)
    assert not any("too high" in note for note in sweep_results(store, "sweep").notes)
    assert run.count_spec.stopping == "fixed"
    unfinished = warnings([make_row(images=10)])
    assert any("10 of 1000 images are in" in note for note in unfinished)


def test_counts_of_held_out_images_with_the_noise_of_test_images_say_so() -> None:
    before = make_row(split="val")
    now = make_row(split="val", count=before.count.model_copy(update={"keys": "split"}))
    (tuning, shared) = warnings([before])
    assert tuning.startswith("Images held out")
    assert "another certification.seed than 0" in shared
    assert warnings([now]) == [tuning]
    assert not warnings([make_row()])
