"""Numbers of a table that is still being filled: how far they mislead where an image takes as long as its question stays open."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from report_cases import make_row, make_store

from rsctl.certificates.stopping import CertifyAtRadii, RadiusWithin, Rule
from rsctl.results.notes import warnings
from rsctl.results.partial import about_late_images, late_image
from rsctl.results.sweep import sweep_results
from rsctl.store.files import replace
from rsctl.store.shards import Rows, Shard, encode_shard

SEQUENTIAL = {
    "n0": 10,
    "n": 1000,
    "stopping": "radius-within",
    "certificates": ["sequential"],
    "radii": [0.0],
}


def draws_taken(rule: Rule, share: float) -> int:
    """Draws after which an image whose class gets this share of the votes is settled."""
    votes = np.round(share * rule.draws).astype(np.int64)
    return next(int(rule.draws[k]) for k in range(len(votes)) if not rule.undecided(votes[None, : k + 1])[0])


def test_images_that_are_late_may_be_certified_ones_or_others() -> None:
    """So the beginning reads low under one rule and high under another: the sentence names no direction."""
    within, at_radii = (
        RadiusWithin(0.02, 0.5, 0.001, 100_000, 100),
        CertifyAtRadii((0.5,), 0.5, 0.001, 100_000, 100),
    )
    assert draws_taken(within, 0.999) > 10 * draws_taken(within, 0.5)  # certified far out, and abstained from
    assert draws_taken(at_radii, 0.84) > 10 * draws_taken(at_radii, 0.99)  # just not certified, and certified
    assert "lower or higher" in about_late_images([(4, 100)])


def test_the_next_image_moves_accuracy_by_no_more_than_is_said() -> None:
    rng = np.random.default_rng(0)
    for beginning in (1, 2, 7, 50):
        moved = []
        for certified in ([0] * beginning, [1] * beginning, rng.integers(0, 2, beginning)):
            moved += [abs(np.mean([*certified, late]) - np.mean(certified)) for late in (0, 1)]
        assert max(moved) == pytest.approx(late_image(beginning, 51))


def test_it_is_said_while_images_are_missing() -> None:
    assert "up to 20.0 points lower or higher" in about_late_images([(4, 100)])
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
        n=np.full(images, draws[-1]), seconds=none, fingerprint=none.astype(np.int32), extras={"looks": {"draws": draws, "counts": looks}},
    )  # fmt: skip
    attributes = {"spec_hash": run.spec.hash, "model_sha256": run.spec.hash, "dimension": 64}
    replace(run.path / "counts.h5", encode_shard(Shard(rows, attributes, [{"device": "none"}]), {}, 0.001))


def test_a_table_that_stops_early_says_it_until_all_images_are_in(tmp_path: Path) -> None:
    store, (run,) = make_store(tmp_path, counts=False, certification=SEQUENTIAL)
    write_looks(run, 49)
    assert any("up to 2.0 points lower or higher" in note for note in sweep_results(store, "sweep").notes)
    write_looks(run, 360)
    assert not any("lower or higher" in note for note in sweep_results(store, "sweep").notes)


def test_a_table_of_fixed_n_has_no_late_images(tmp_path: Path) -> None:
    store, (run,) = make_store(tmp_path)
    assert not any("lower or higher" in note for note in sweep_results(store, "sweep").notes)
    assert run.count_spec.stopping == "fixed"
    unfinished = warnings([make_row(images=10)])
    assert any("10 of 1000 images finished" in note for note in unfinished)


def test_counts_of_held_out_images_with_the_noise_of_test_images_say_so() -> None:
    before = make_row(split="val")
    now = make_row(split="val", spec=before.table_spec.model_copy(update={"keys": "split"}))
    (tuning, shared) = warnings([before])
    assert tuning.startswith("Images held out")
    assert "another certification.seed than 0" in shared
    assert warnings([now]) == [tuning]
    assert not warnings([make_row()])
