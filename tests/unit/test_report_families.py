"""Verifiers' rows and sampling side by side: the same images, one norm, every number with its label."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from report_cases import N0, N, make_store, write_counts

from rsctl import results
from rsctl.errors import InputError, RefusedError
from rsctl.report.compare.pairs import compare
from rsctl.report.figures.draw import plot
from rsctl.report.tables.families import families
from rsctl.report.tables.formats import render
from rsctl.results.opening import open_run
from rsctl.results.sweep import sweep_results
from rsctl.store.files import replace
from rsctl.store.layout import Run, Store
from rsctl.store.rows import DistanceBounds
from rsctl.store.shards import Shard, encode_shard

RADII = [0.01, 0.02]
SWEEP = {
    "certification": {
        "n0": N0, "n": N, "certificates": ["cohen", "runner-up-linf"], "radii": [0.0, 0.25], "max_images": 40,
    },
    "verification": [{"verifier": "ibp", "radii": RADII}, {"verifier": "crown", "max_images": 30}],
}  # fmt: skip


def write_findings(run: Run, images: list[int], radius: float) -> None:
    """Every other image is proved within `radius`, the others within nothing; one of these is broken at 0.015."""
    index = np.array(sorted(images), np.int64)
    proved = np.where(np.arange(len(index)) % 2 == 0, radius, 0.0)
    broken = np.full(len(index), np.inf)
    broken[1] = 0.015
    label = (index * 7 % 10).astype(np.int32)
    rows = DistanceBounds(
        index=index, label=label, seconds=np.ones(len(index)), fingerprint=np.zeros(len(index), np.int32),
        predicted=label, lower=proved, upper=broken,
    )  # fmt: skip
    attributes = {"spec_hash": run.spec.hash, "model_sha256": "a" * 64}
    replace(run.path / "findings.h5", encode_shard(Shard(rows, attributes, [{"device": "none"}])))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store, _ = make_store(tmp_path, counts=False, **SWEEP)
    for entry in store.sweep("sweep")["entries"]:
        run = store.run(entry.kind, entry.run)
        images = [image for number in run.task_numbers() for image in run.images(number)]
        if entry.kind == "counts":
            write_counts(run, images)
        else:
            write_findings(run, images, 0.01)
    return store


def test_files_of_proofs_that_can_t_be_read_are_named_beside_those_of_counts(store: Store) -> None:
    entries = store.sweep("sweep")["entries"]
    spoilt = [store.run(entry.kind, entry.run).path / "shards" / "0009.1.h5" for entry in entries]
    for file in spoilt:
        file.parent.mkdir(exist_ok=True)
        file.write_text("spoilt")
    notes = sweep_results(store, "sweep").notes
    assert [sum(str(file) in note for note in notes) for file in spoilt] == [1] * len(spoilt)


def test_only_rows_of_one_norm_stand_together_on_the_images_that_all_have(store: Store) -> None:
    found = sweep_results(store, "sweep")
    (family,) = families(found)
    assert (family.norm, family.images) == ("linf", 30)
    assert [line.row.certificate for line in family.lines] == ["runner-up-linf", "ibp", "crown"]
    assert all("deterministic" in line.row.guarantee for line in family.lines[1:])
    assert "probabilistic" in family.lines[0].row.guarantee
    # ibp proved every other of its 40 images; crown's 30 are the first of the same order.
    ibp = next(line for line in family.lines if line.row.certificate == "ibp")
    assert ibp.cells[family.radii.index(0.01)].images == 30


def test_boundaries_count_and_what_is_not_settled_is_told(store: Store) -> None:
    ibp, crown = sweep_results(store, "sweep").proved
    assert [cell.certified for cell in ibp.cells] == [20, 0]
    # Broken beyond 0.01 isn't decided there; at 0.02 it is.
    assert ibp.undecided == [20 / 40, 39 / 40]
    assert np.isnan(ibp.acr)
    assert crown.acr == pytest.approx(0.005)
    notes = " ".join(sweep_results(store, "sweep").notes)
    assert "ibp neither proved nor refuted some images" in notes


def test_every_format_names_the_guarantee(store: Store, tmp_path: Path) -> None:
    found = sweep_results(store, "sweep")
    assert "Side by side" in render(found, "md")
    assert "Side by side" in render(found, "latex")
    values = json.loads(render(found, "json"))
    assert {row["norm"] for row in values["families"]} == {"linf"}
    assert all(row["guarantee"] for row in values["families"])
    notes = plot(store, "sweep", tmp_path / "families.png", kind="families")
    assert any("different classifiers" in note for note in notes)


def test_a_verifier_is_chosen_like_a_certificate(store: Store) -> None:
    found = sweep_results(store, "sweep", certificate="crown")
    assert [row.certificate for row in found.every] == ["crown"]
    assert not families(found)
    sampled = sweep_results(store, "sweep", certificate="cohen")
    assert [row.certificate for row in sampled.every] == ["cohen"]


def test_a_proof_is_compared_with_sampling_in_its_own_norm_alone(store: Store) -> None:
    entries = {entry.kind: entry.run for entry in store.sweep("sweep")["entries"]}
    proved = open_run(store, entries["verifications"])
    assert (proved.norm, proved.alpha, proved.table) == ("linf", None, None)
    sampled = open_run(store, entries["counts"], "runner-up-linf")
    assert compare(store, proved, sampled, [0.0, 0.01]).images == 30
    with pytest.raises(RefusedError, match="norm"):
        compare(store, proved, open_run(store, entries["counts"], "cohen"))
    with pytest.raises(InputError, match="without alpha or counts"):
        open_run(store, entries["verifications"], alpha=0.01)


def test_a_notebook_opens_what_was_proved(store: Store) -> None:
    run = results.open(store.root / "sweeps" / "sweep").runs[-1]
    assert run.about.certificate == "crown"
    assert run.certified_accuracy([0.01]).tolist() == [0.5]
    with pytest.raises(InputError, match="no counts"):
        _ = run.counts
