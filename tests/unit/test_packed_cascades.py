"""Packages of sweeps with cascades: tables, marks and guarantees survive, and a changed cascade is noticed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from package_cases import forged, hdf5_edit, json_edit, packed
from report_cases import make_store, write_counts
from test_packages import named, tables

from rsctl.certificates.cascade_search import CascadeObjective
from rsctl.cli.app import run as rsctl
from rsctl.config.runs import TrainSpec
from rsctl.package.unpacking import unpack
from rsctl.package.verifying import verify
from rsctl.results.sweep import sweep_results
from rsctl.results.tune import tune_cascades
from rsctl.store.layout import Run, Store
from rsctl.store.plan_fields import PLAN
from rsctl.store.received import held

SETTINGS = {"n0": 10, "n": 1000, "certificates": ["runner-up"], "radii": [0.0, 0.25, 0.5], "max_images": 40}
GRID = {"sigma": [0.25, 0.5]}
TUNED = {"sweep": "held-out", "split": "val", "images": 30, "objective": "certified accuracy at 0.5"}


def with_cascades(root: Path) -> Store:
    """Cascades of the sweep's own levels, and of one of another sweep."""
    _, others = make_store(
        root, name="other", method="consistency", grid=GRID, certification=SETTINGS, counts=False
    )
    for number, run in enumerate(others):
        write_counts(run, run.images(0), seed=10 + number)
    cascades = [
        {"levels": [0.25, 0.5], "tau": 0.7, "tuned": TUNED},
        {"levels": [0.25, {"sweep": "other", "sigma": 0.5}], "tau": 0.8},
    ]
    return make_store(root, grid=GRID, certification=SETTINGS, cascade=cascades)[0]


def tuned_here(root: Path) -> Store:
    """A cascade chosen by the draws that it is reported on."""
    validation = {**SETTINGS, "split": "val"}
    store, _ = make_store(root, grid=GRID, certification=validation)
    chosen, _ = tune_cascades(store, "sweep", CascadeObjective(((0.25, 1.0),)))
    block = chosen[0].block
    assert len(block["levels"]) == 2  # type: ignore[arg-type]
    return make_store(root, name="shown", grid=GRID, certification=validation, cascade={k: block[k] for k in ("levels", "tau")}, counts=False)[0]  # fmt: skip


def test_tables_with_cascades_are_equal_to_the_last_digit(tmp_path: Path) -> None:
    store, other = with_cascades(tmp_path / "store"), Store(tmp_path / "elsewhere")
    file = packed(store, tmp_path / "out")
    found = verify(file)
    assert found.verified, found.findings
    assert [note for note in found.remarks if "how the levels" in note and "τ = 0.8" in note]
    unpack(file, other)
    assert len(sweep_results(other, "sweep").cascades) == 2
    assert tables(other) == tables(store)
    assert other.sweep("sweep")["cascades"] == store.sweep("sweep")["cascades"]
    assert set(held(other, "sweep")) == {member.sha256 for member in _members(file)}


@pytest.mark.parametrize("by_id", [False, True])
def test_levels_sampled_as_needed_verify(tmp_path: Path, by_id: bool) -> None:
    root = tmp_path / "store"
    _, runs = make_store(root, name="whole", grid=GRID, certification=SETTINGS)
    levels = [run.id for run in runs] if by_id else [run.count_spec.sigma for run in runs]
    cascade = {"levels": levels, "tau": 0.7, "order": "as-needed"}
    store, planned = make_store(root, grid=GRID, certification=SETTINGS, cascade=cascade, counts=False)
    (later,) = [run for run in planned if run.count_spec.needed]
    write_counts(later, later.images(0), seed=1)
    found = verify(packed(store, tmp_path / "out"))
    assert found.verified, found.findings
    assert unpack(tmp_path / "out" / "sweep.rsctl", Store(tmp_path / "elsewhere"))
    assert tables(Store(tmp_path / "elsewhere")) == tables(store)


def _members(file: Path) -> Any:
    from rsctl.package.archive import read_manifest

    return read_manifest(file).members


def test_a_cascade_that_its_own_draws_chose_stays_marked(tmp_path: Path) -> None:
    store, other = tuned_here(tmp_path / "store"), Store(tmp_path / "elsewhere")
    (before,) = sweep_results(store, "shown").cascades
    assert before.guarantee.startswith("heuristic")
    file = packed(store, tmp_path / "out", "shown")
    assert verify(file).verified
    unpack(file, other)
    (row,) = sweep_results(other, "shown").cascades
    assert (row.name, row.guarantee) == (before.name, before.guarantee)
    assert tables(other, "shown") == tables(store, "shown")
    card = (other.sweep_folder("shown") / "CARD.md").read_text()
    assert "chosen by these draws" in card
    assert "its numbers are those of a choice, not a test result" in card
    # Packed again by the receiver under its name for the sweep, and chosen on the images of a received sweep.
    assert verify(packed(other, tmp_path / "again", "shown")).verified


def test_a_choice_by_its_runs_under_another_sweep_is_packed(tmp_path: Path) -> None:
    store, other = tuned_here(tmp_path / "store"), Store(tmp_path / "elsewhere")
    validation = {**SETTINGS, "split": "val"}
    make_store(store.root, name="bare", grid=GRID, certification=validation, counts=False)
    (shown,) = store.sweep("shown")["cascades"]
    file = packed(store, tmp_path / "out", "bare")
    assert verify(file).verified
    unpack(file, other)
    (row,) = sweep_results(other, "bare", cascade=shown.id).cascades
    assert row.guarantee.startswith("heuristic")


def test_what_was_chosen_on_a_received_sweep_outlives_its_update(tmp_path: Path) -> None:
    store, other = tuned_here(tmp_path / "store"), Store(tmp_path / "elsewhere")
    file = packed(store, tmp_path / "out", "shown")
    unpack(file, other)
    tune_cascades(other, "shown", CascadeObjective(((0.5, 1.0),)))
    before = (other.sweep_folder("shown") / "tuned.json").read_bytes()
    unpack(file, other)
    after = json.loads((other.sweep_folder("shown") / "tuned.json").read_bytes())["choices"]
    assert [one["objective"] for one in after] == [one["objective"] for one in json.loads(before)["choices"]]
    assert len(after) == 2


def _cascade(change: Callable[[Any], None], *, sealed: bool) -> Any:
    """An edit of the first cascade in the plan; with `sealed` its digest is made anew."""

    def edit(values: Any) -> None:
        change(values["cascades"][0])
        if sealed:
            for cascade, entry in zip(
                values["cascades"], PLAN.adapter.validate_json(json.dumps(values))["cascades"], strict=True
            ):
                cascade["digest"] = entry.sealed().digest

    return json_edit(edit)


def _swap(cascade: Any) -> None:
    cascade["levels"].reverse()


CHANGES: dict[str, Callable[[Any], None]] = {
    "swapped": _swap,
    "tau": lambda cascade: cascade.update(taus=[0.95]),
    "untuned": lambda cascade: cascade.update(tuned=None),
    "elsewhere": lambda cascade: cascade["tuned"].update(split="test"),
}


@pytest.mark.parametrize("sealed", [False, True])
@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_cascade_is_noticed(tmp_path: Path, change: str, sealed: bool) -> None:
    file = packed(with_cascades(tmp_path / "store"), tmp_path / "out")
    found = verify(forged(file, {"sweep/plan.json": _cascade(CHANGES[change], sealed=sealed)}))
    wanted = "isn't one of its [[cascade]] tables" if sealed else "doesn't match its digest"
    assert named(found, wanted), found.findings


LIBRARY = {
    "name": "hf", "architecture": "tiny", "resize": 16, "outputs": [9, 8, 7, 6, 5, 4, 3, 2, 1, 0, ],
    "config": json.dumps({"model_type": "resnet", "num_labels": 10, "embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1]}),
}  # fmt: skip


def _outputs(values: Any) -> None:
    values["spec"]["model_parameters"]["outputs"].reverse()


@pytest.mark.parametrize("rehash", [False, True])
def test_networks_of_libraries_keep_their_outputs_and_the_note_on_their_resize(
    tmp_path: Path, rehash: bool
) -> None:
    store, _ = make_store(tmp_path / "store", model=LIBRARY, certification=SETTINGS)
    file, other = packed(store, tmp_path / "out"), Store(tmp_path / "elsewhere")
    unpack(file, other)
    assert tables(other) == tables(store)
    assert [note for note in sweep_results(other, "sweep").notes if "resize" in note and "16x16" in note]
    card = (other.sweep_folder("sweep") / "CARD.md").read_text()
    assert "16x16" in card
    assert "9, 8, 7, 6, 5, 4, 3, 2, 1, 0" in card

    def change(values: Any) -> None:
        _outputs(values)
        if rehash:
            values["hash"] = TrainSpec.model_validate(values["spec"]).hash

    found = verify(forged(file, {"models/": json_edit(change)}))
    assert named(found, "runs/models"), found.findings


def test_removing_the_record_of_a_choice_is_noticed(tmp_path: Path) -> None:
    file = packed(tuned_here(tmp_path / "store"), tmp_path / "out", "shown")
    found = verify(forged(file, {"sweep/tuned.json": json_edit(lambda values: values["choices"].clear())}))
    assert named(found, "CARD.md")
    assert named(found, "tables/table.json", "guarantee")
    assert [note for note in found.remarks if "how the levels" in note]


def test_no_command_starts_a_task_of_a_received_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    """A package of an unfinished sweep: its open tasks are the sender's."""
    store, runs = make_store(tmp_path / "store", certification=SETTINGS, counts=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RSCTL_STORE", str(tmp_path / "elsewhere"))
    unpack(packed(store, tmp_path / "out"), Store(tmp_path / "elsewhere"))
    for command in (["retry", "sweep"], ["retry", runs[0].id], ["retry", f"{runs[0].id}/0"], ["task", runs[0].id, "0"]):  # fmt: skip
        assert rsctl(command) == 2, command
        assert "received in a package" in capsys.readouterr().err
    assert not list((tmp_path / "elsewhere").glob("*/*/tasks/*.jsonl"))
    assert not (tmp_path / "elsewhere" / "queue").exists()


def test_a_package_needs_a_folder_that_exists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    make_store(tmp_path / "store", certification=SETTINGS, counts=False)
    monkeypatch.setenv("RSCTL_STORE", str(tmp_path / "store"))
    assert rsctl(["pack", "sweep", "-o", str(tmp_path / "missing" / "a.rsctl")]) == 2
    assert "missing doesn't exist" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "kind"),
    [({"n": 2000}, "heuristic"), ({"n0": 20}, "heuristic"), ({"seed": 1}, "probabilistic")],
)
def test_a_choice_by_the_same_noise_leaves_no_guarantee(
    tmp_path: Path, changes: dict[str, int], kind: str
) -> None:
    """With another n the same images get the same draws, although their run is another one."""
    validation = {**SETTINGS, "split": "val", "max_images": 200}
    store, _ = make_store(tmp_path / "store", grid=GRID, certification=validation)
    (choice,), _ = tune_cascades(store, "sweep", CascadeObjective(((0.25, 1.0),)))
    cascade = {"levels": list(choice.sigmas), "tau": list(choice.taus)}
    settings = {**validation, **changes}
    store, runs = make_store(tmp_path / "store", name="again", grid=GRID, certification=settings, cascade=cascade, counts=False)  # fmt: skip
    for run in runs:
        write_counts(run, run.images(0))
        if "n" in changes or "n0" in changes:
            _fill(run)
    (row,) = sweep_results(store, "again").cascades
    assert row.tuning
    assert row.tuning.here
    assert row.guarantee.startswith(kind)


def _fill(run: Run) -> None:
    """Give the images of a run its own n and n0."""
    spec = run.count_spec

    def change(file: Any) -> None:
        counts, selection = file["counts"][()], file["selection_counts"][()]
        top, rows = counts.argmax(axis=1), range(len(counts))
        counts[rows, top] += spec.n - counts.sum(axis=1)
        selection[rows, top] += spec.n0 - selection.sum(axis=1)
        for name, values in {"counts": counts, "selection_counts": selection, "n": counts.sum(axis=1)}.items():  # fmt: skip
            del file[name]
            file[name] = values

    (run.path / "counts.h5").write_bytes(hdf5_edit(change)((run.path / "counts.h5").read_bytes()))
