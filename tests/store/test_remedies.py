"""Remedies that error messages advise are executed, after the message itself: the way out of it works."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from chain import Chain, tiny
from folders import shapes
from test_published_runs import sweep, trained

from rsctl.cluster.retry import retry
from rsctl.cluster.task import run_task
from rsctl.config.sweep import build_sweep
from rsctl.config.validate import Invalid
from rsctl.errors import InputError, RefusedError, UnavailableError, UserError
from rsctl.plan.damaged import set_damaged_aside
from rsctl.plan.plan import make_plan
from rsctl.plan.tasks import Task
from rsctl.store.layout import Run
from rsctl.store.tables import data_files, read_table

SMALL = {"certification": {"n0": 10, "n": 50, "max_images": 4, "shards": 2, "tile": 50, "block": 50}, "training": {"epochs": 1, "warmup_epochs": 0.0}}  # fmt: skip


def away(path: Path) -> None:
    path.rename(path.with_name(path.name + ".away"))


def run_named(chain: Chain, folder: str) -> Run:
    (run,) = chain.store.runs(folder)
    return run


def damaged_model(chain: Chain) -> Path:
    file = run_named(chain, "models").model_file
    file.write_bytes(b"damaged")
    for shard in data_files(chain.counts_run()):
        away(shard)
    return file


def cut_launch(chain: Chain) -> Path:
    file = run_named(chain, "models").path / "launch.json"
    file.write_text("{}")
    return file


def edited_plan(chain: Chain) -> Path:
    file = chain.store.sweep_folder("tiny") / "plan.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "entries": [{"model": 3}]}))
    return file


def edited_spec(chain: Chain) -> Path:
    file = chain.counts_run().path / "spec.json"
    values = json.loads(file.read_text())
    values["spec"]["n"] = 60
    file.write_text(json.dumps(values))
    return file.parent


def ask_plan(chain: Chain) -> None:
    chain.store.sweep("tiny")


def ask_launch(chain: Chain) -> None:
    run_named(chain, "models").launch()


def ask_spec(chain: Chain) -> None:
    assert chain.counts_run().count_spec


def count_again(chain: Chain) -> None:
    for request in chain.plan(tiny(**SMALL)).requests:
        chain.run(request.task)


DAMAGE: dict[str, tuple[Callable[[Chain], Path], Callable[[Chain], Any], str]] = {
    "model.pt": (damaged_model, count_again, r"can't be read as a model .*Move it away and submit again to train anew"),
    "launch.json": (cut_launch, ask_launch, r"has no 'code'.* or submit again to set it aside"),
    "plan.json": (edited_plan, ask_plan, r"it was edited or damaged\. Restore it, or submit again to set it aside"),
    "spec.json": (edited_spec, ask_spec, r"doesn't match its hash.* move the run away and submit again"),
}  # fmt: skip


@pytest.mark.parametrize("what", DAMAGE)
def test_what_is_moved_away_is_made_anew_by_submitting_again(what: str, chain: Chain) -> None:
    damage, ask, said = DAMAGE[what]
    chain.run_all(tiny(**SMALL))
    before = read_table(chain.counts_run()).rows.counts.tolist()
    file = damage(chain)
    with pytest.raises(UserError, match=f"(?s){said}"):
        ask(chain)
    if "sets it aside" in said:
        sweep = build_sweep(tiny(**SMALL), "sweep.toml", chain.place.data)
        (told,) = set_damaged_aside(chain.store, make_plan(sweep, "sweep.toml"))
        assert str(file) in told
        assert not file.exists()
    else:
        away(file)
    for request in chain.plan(tiny(**SMALL)).requests:
        chain.run(request.task)
    run = next(run for run in chain.store.runs("counts") if not run.id.endswith(".away"))
    assert read_table(run).rows.counts.tolist() == before


def test_a_snapshot_of_a_training_that_is_spoilt_may_be_moved_away(chain: Chain) -> None:
    (training, *_) = chain.plan(tiny(**SMALL)).requests
    run = training.task.run
    run.checkpoint_file.write_bytes(b"spoilt")
    with pytest.raises(InputError, match=r"(?s)Move it away to train from the start"):
        chain.run(training.task)
    away(run.checkpoint_file)
    chain.run(training.task)
    assert run.model_file.exists()


def test_a_copy_of_a_checkpoint_that_is_another_is_copied_again(chain: Chain) -> None:
    values = sweep(trained(chain.folder))
    (model, *_) = chain.plan(values).requests
    stored = torch.load(model.task.run.published_file, weights_only=True)
    torch.save({**stored, "epoch": 9}, model.task.run.published_file)
    with pytest.raises(
        InputError,
        match=r"isn't the file this run was planned for .*was removed. 'rsctl submit' copies it again",
    ):
        chain.run(model.task)
    assert not model.task.run.published_file.exists()
    for request in chain.plan(values).requests:
        chain.run(request.task)
    assert model.task.run.model_file.exists()


def test_counts_of_another_model_are_moved_away(chain: Chain) -> None:
    committed = chain.plan(tiny(**SMALL))
    training, first, second = committed.requests
    chain.run(training.task)
    chain.run(first.task)
    model = run_named(chain, "models").model_file
    stored = torch.load(model, weights_only=True)
    stored["state_dict"]["1.fc.bias"] += 1
    torch.save(stored, model)
    with pytest.raises(RefusedError, match=r"another checkpoint .* move the run's shards away"):
        chain.run(second.task)
    shutil.move(chain.counts_run().shards_folder, chain.folder / "away")
    for request in chain.plan(tiny(**SMALL)).requests:
        chain.run(request.task)
    assert len(read_table(chain.counts_run()).rows) == 4


def test_shards_of_two_checkpoints_are_parted(chain: Chain) -> None:
    training, first, second = chain.plan(tiny(**SMALL)).requests
    chain.run(training.task)
    chain.run(first.task)
    kept = data_files(chain.counts_run())
    for file in kept:
        away(file)
    model = run_named(chain, "models").model_file
    stored = torch.load(model, weights_only=True)
    stored["state_dict"]["1.fc.bias"] += 1
    torch.save(stored, model)
    chain.run(second.task)
    for file in kept:
        file.with_name(file.name + ".away").rename(file)
    with pytest.raises(
        RefusedError,
        match=r"2 different checkpoints; .*Move the shards of one checkpoint away and submit again",
    ):
        read_table(chain.counts_run())
    for file in kept:
        away(file)
    for request in chain.plan(tiny(**SMALL)).requests:
        chain.run(request.task)
    assert len(read_table(chain.counts_run()).rows) == 4


def folder_sweep(chain: Chain) -> dict[str, Any]:
    return {**tiny(**SMALL), "dataset": {"name": "imagefolder", "path": "own", "size": 8}}


def test_retry_looks_for_data_where_they_are_now(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = chain.folder / "data", chain.folder / "elsewhere"
    shapes(old / "own", train=[20, 20, 20], test=[4, 4, 4], size=8)
    (training, *counts) = chain.plan(folder_sweep(chain)).requests
    old.rename(new)
    assert run_task(training.task.run, 0) != 0
    monkeypatch.setenv("RSCTL_DATA", str(new))
    monkeypatch.setattr("rsctl.cluster.retry.backend_of", lambda *_: Handed())
    again, _ = retry(chain.place, "tiny")
    assert {task.key for task in again} == {training.task.key, *(request.task.key for request in counts)}
    for task in again:
        assert task.run.launch()["data"] == str(new)
        assert run_task(task.run, task.number) == 0
    assert len(read_table(chain.counts_run()).rows) == 4


class Handed:
    """A scheduler that takes everything and starts nothing."""

    held_back: tuple[Task, ...] = ()
    note = ""

    def submit(self, requests: list[Any]) -> Handed:
        return self


def test_files_that_changed_since_are_planned_anew_with_update(chain: Chain) -> None:
    shapes(chain.folder / "data/own", train=[20, 20, 20], test=[4, 4, 4], size=8)
    (training, *_) = chain.plan(folder_sweep(chain)).requests
    next((chain.folder / "data/own/train/disc").iterdir()).unlink()
    with pytest.raises(InputError, match=r"Restore them, or submit again with --update to plan anew"):
        chain.run(training.task)
    with pytest.raises(
        RefusedError, match=r"Restore the files, give this sweep another name, or add --update"
    ):
        chain.plan(folder_sweep(chain))
    chain.plan({**folder_sweep(chain), "name": "another"})
    for request in chain.plan(folder_sweep(chain), update=True).requests:
        chain.run(request.task)


def test_a_smaller_tile_fits_where_a_larger_did_not(chain: Chain) -> None:
    """The system refuses so many images at once; the advice is a smaller number, whose counts are a table of their own."""
    large = tiny(**{**SMALL, "certification": {**SMALL["certification"], "tile": 10**12}})
    training, first, *_ = chain.plan(large).requests
    chain.run(training.task)
    with pytest.raises(UnavailableError, match=r"out of memory .*Take a smaller one"):
        chain.run(first.task)
    for request in chain.plan(tiny(**SMALL), update=True).requests:
        chain.run(request.task)


def test_a_sweep_that_changed_takes_another_name_or_an_update(chain: Chain) -> None:
    chain.plan(tiny(**SMALL))
    with pytest.raises(RefusedError, match=r"Give this one another name, or add --update"):
        chain.plan(tiny(**SMALL, sigma=0.25))
    chain.plan(tiny(**SMALL, sigma=0.25, name="another"))
    chain.plan(tiny(**SMALL, sigma=0.25), update=True)


def with_certification(**values: Any) -> dict[str, Any]:
    return tiny(certification=values)


SENTENCES: list[tuple[dict[str, Any], str, list[dict[str, Any]]]] = [
    (tiny(training={"epochs": 2, "warmup_epochs": 5.0}), r"Set it too, such as warmup_epochs = 0.4", [tiny(training={"epochs": 2, "warmup_epochs": 0.4})]),
    (
        {**with_certification(transfer=100)}, r"set precision.certification = 'bf16' \(or 'tf32'\) and certification.stopping = 'fixed', or leave it out",
        [{**with_certification(transfer=100), "precision": {"certification": kind}} for kind in ("bf16", "tf32")] + [tiny()],
    ),
    (
        {**with_certification(gradient=True), "noise": "uniform"}, r"set noise = 'gaussian', exponent = 0 and certification.stopping = 'fixed', or leave it out",
        [with_certification(gradient=True), tiny()],
    ),
    (
        {**with_certification(arithmetic="exact", gradient=True)}, r"leave out certification.shells and .gradient, or set 'float'",
        [with_certification(arithmetic="exact"), with_certification(arithmetic="float", gradient=True)],
    ),
    (
        {**with_certification(selection="clean"), "noise": "splitting"}, r"leave out certification.stopping, .selection and .transfer", [tiny()],
    ),
    (
        tiny(method={"name": "macer", "noises": 3}, training={"batch_size": 320, "noise_steps": "smaller"}),
        r"Give a multiple, or set training.noise_steps = 'one'",
        [tiny(method={"name": "macer", "noises": 3}, training={"batch_size": 321, "noise_steps": "smaller"}),
         tiny(method={"name": "macer", "noises": 3}, training={"batch_size": 320, "noise_steps": "one"})],
    ),
    (tiny(sigma=0.0), r"set certification.sigma, or add \[\[verification\]\]",
     [tiny(sigma=0.0, certification={"sigma": 0.5}), tiny(sigma=0.0, verification={"verifier": "ibp", "norm": "linf"}, certification={"certificates": []})]),
    (tiny(training={"exponent_warmup": 1}), r"set exponent .*or leave it out", [tiny(training={"exponent_warmup": 1}, exponent=4, certification={"certificates": ["neyman-pearson"]}), tiny()]),
]  # fmt: skip


@pytest.mark.parametrize("at", range(len(SENTENCES)))
def test_what_a_sweep_files_error_advises_is_valid(at: int, chain: Chain) -> None:
    wrong, said, right = SENTENCES[at]
    with pytest.raises(Invalid, match=said):
        build_sweep(wrong, "sweep.toml", chain.place.data)
    for values in right:
        assert build_sweep(values, "sweep.toml", chain.place.data).points
