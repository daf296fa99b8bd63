"""Trainings of every method: resumed ones, those of two processes, those that need another model, and bad input."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
import torch
from chain import Chain, tiny
from torch import Tensor

from jobs.data import load
from jobs.models.load import load_trained
from rsctl.catalog import known_methods
from rsctl.cluster.control import sweep_tasks
from rsctl.config.sweep import build_sweep
from rsctl.config.validate import Invalid
from rsctl.errors import InputError, RefusedError
from rsctl.plan.commit import Task
from rsctl.plan.cost import estimate, measure, training_key
from rsctl.plan.plan import make_plan
from rsctl.store.attempts import read_attempt
from rsctl.store.task_context import Stopped, TaskContext

CHEAP: dict[str, dict[str, Any]] = {
    "cat-rs": {"teacher_draws": 20},
    "denoise": {
        "objective": "stability",
        "model": {"name": "denoised", "depth": 2, "width": 4},
        "teacher": {"name": "gaussian", "sigma": 0.0},
    },
    "heat": {"timesteps": 2, "reinitialize": True},
    "sodm": {"mapping_interval": 2},
}


def each_method(*in_short: str) -> list[Any]:
    return [
        pytest.param(name, marks=() if name in in_short else pytest.mark.long)
        for name in sorted(known_methods())
    ]


def sweep(name: str, **changes: Any) -> dict[str, Any]:
    """Nine steps of a method on digits."""
    method = {
        "name": name,
        **CHEAP.get(name, {}),
        "training": {"epochs": 1, "batch_size": 160, "warmup_epochs": 0.0},
    }
    return tiny(
        **{"method": method, "training": {"epochs": 1, "batch_size": 160, "warmup_epochs": 0.0}, **changes}
    )


def prepared(chain: Chain, values: dict[str, Any]) -> Task:
    """The training task of a sweep, after the models that it needs."""
    tasks = [r.task for r in chain.plan(values).requests if r.task.run.kind == "models"]
    for task in tasks[:-1]:
        chain.run(task)
    return tasks[-1]


def weights(task: Task) -> dict[str, Tensor]:
    """What a training published; takes it away, so that the task can be done again."""
    found = torch.load(task.run.model_file, weights_only=True)["state_dict"]
    task.run.model_file.unlink()
    return dict(found)


def stopping_after(calls: int) -> type[TaskContext]:
    class StoppingWork(TaskContext):
        looked = 0

        def stopping(self) -> str:
            self.looked += 1
            return "told to stop" if self.looked > calls else ""

    return StoppingWork


@pytest.mark.parametrize("name", each_method("sodm", "denoise"))
def test_a_resumed_training_is_the_uninterrupted_one_bit_by_bit(chain: Chain, name: str) -> None:
    task = prepared(chain, sweep(name))
    chain.run(task)
    expected = weights(task)
    if predictions := task.run.train_spec.predictions:
        chain.store.run("models", predictions).model_file.unlink()
    # Then the teacher's predictions are gathered in 23 parts: CAT-RS is stopped there first, then in training.
    for calls in (3, 25) if name == "cat-rs" else (3, 1):
        with pytest.raises(Stopped):
            chain.run(task, stopping_after(calls))
        assert task.run.checkpoint_file.exists()
    chain.run(task)
    resumed = weights(task)
    assert all(torch.equal(expected[key], resumed[key]) for key in expected)


@pytest.mark.parametrize("name", each_method())
def test_two_processes_train_what_one_does(chain: Chain, name: str) -> None:
    """For a network without batch normalisation: the same batches, noises and means, up to rounding."""
    task = prepared(chain, sweep(name))
    chain.run(task)
    one = weights(task)
    task.run.write_launch({**task.run.launch(), "processes": 2})
    done = subprocess.run(
        [sys.executable, "-m", "rsctl.cluster.task", str(task.run.path), "0"],
        capture_output=True, text=True, timeout=300, env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    two = weights(task)
    for key, value in one.items():
        assert torch.allclose(value, two[key], rtol=1e-3, atol=1e-4), (key, (value - two[key]).abs().max())


def test_a_teacher_is_planned_before_its_pupil_and_shared_with_the_sweep_that_trains_it_anyway(
    chain: Chain,
) -> None:
    method = [{"name": "gaussian"}, {"name": "cat-rs", "teacher_draws": 10}]
    committed = chain.plan(tiny(sigma=0.25, method=method))  # the noise that CAT-RS wants of its teacher
    models = [r for r in committed.requests if r.task.run.kind == "models"]
    assert [r.task.run.train_spec.method for r in models] == ["gaussian", "smoothed-predictions", "cat-rs"]
    assert models[1].needs == (models[0].task,)
    assert models[2].needs == (models[0].task, models[1].task)
    alone = chain.plan(tiny(name="alone", sigma=0.25, method=method[1]))
    assert [r.task.run.id for r in alone.requests if r.task.run.kind == "models"] == [
        r.task.run.id for r in models
    ]
    other = chain.plan(tiny(name="other", sigma=1.0, method=method[1]))
    teacher = next(r for r in other.requests if r.task.run.kind == "models" and not r.needs)
    assert teacher.task.run.id == models[0].task.run.id


def test_pupils_share_their_teachers_predictions_and_are_what_they_would_be_alone(chain: Chain) -> None:
    """One run between teacher and pupils, stopped and resumed; a pupil that can't find it computes the very same."""
    method = {"name": "cat-rs", "teacher_draws": 20, "grid": {"lbd": [0.5, 1.0]}}
    recipe = {"epochs": 1, "batch_size": 160, "warmup_epochs": 0.0}
    values = tiny(method=method, training=recipe, grid={"sigma": [0.25, 0.5]})
    del values["sigma"]
    tasks = [r.task for r in chain.plan(values).requests if r.task.run.kind == "models"]
    assert [task.run.train_spec.method for task in tasks].count("smoothed-predictions") == 1
    (predictions,) = [task for task in tasks if task.run.train_spec.method == "smoothed-predictions"]
    pupils = [task for task in tasks if task.run.train_spec.method == "cat-rs"]
    assert len(pupils) == 4
    for task in tasks[: tasks.index(predictions)]:
        chain.run(task)
    with pytest.raises(Stopped):
        chain.run(predictions, stopping_after(5))
    assert predictions.run.checkpoint_file.exists()
    work = chain.run(predictions)
    assert read_attempt(predictions.run, 0, work.claim.number).progress["unit"] == "images"
    table = torch.load(predictions.run.model_file, weights_only=True)["shares"]
    assert table.shape == (1437, 10)
    assert torch.allclose(table.sum(1), torch.ones(1437))
    with pytest.raises(InputError, match="holds smoothed predictions, not a network"):
        load_trained(predictions.run.model_file, predictions.run.spec.hash, load("digits", {}, "test", chain.folder).shape)  # fmt: skip
    assert predictions in sweep_tasks(chain.store, "tiny")  # what status, cancel and retry go through
    values["name"] = "again"
    again = make_plan(build_sweep(values, "again.toml", chain.place.data), "again.toml")
    draws_per_second = measure(chain.store)[training_key(predictions.run.train_spec)].per_second
    predictions.run.model_file.rename(predictions.run.path / "away")
    without = estimate(again, chain.store)
    (predictions.run.path / "away").rename(predictions.run.model_file)
    assert (
        without.unknown == estimate(again, chain.store).unknown
    )  # nothing else is measured yet: cat-rs, sampling
    assert without.hours - estimate(again, chain.store).hours == pytest.approx(
        1437 * 20 / draws_per_second / 3600
    )
    pupil = pupils[-1]
    chain.run(pupil)
    shared = weights(pupil)
    predictions.run.model_file.unlink()
    chain.run(pupil)
    alone = weights(pupil)
    assert all(torch.equal(shared[key], alone[key]) for key in shared)
    # Nobody would read it any more once the pupils are there: then it isn't computed.
    for one in pupils:
        one.run.model_file.write_bytes(b"trained")
    later = chain.plan({**values, "name": "later"})
    assert predictions not in [request.task for request in later.requests]
    assert predictions not in sweep_tasks(chain.store, "later")
    for one in pupils:
        one.run.model_file.unlink()
    assert predictions in [request.task for request in chain.plan({**values, "name": "later"}).requests]
    # Another teacher's table isn't read.
    torch.save({"spec_hash": "0" * 64, "data": "", "shares": table}, predictions.run.model_file)
    with pytest.raises(InputError, match="was computed for other images or with another teacher"):
        chain.run(pupil)


def test_what_a_model_starts_from_changes_its_name(chain: Chain) -> None:
    def name(**start: Any) -> str:
        values = tiny(
            name=f"sweep{'-'.join(start)}x", method={"name": "heat", "start": {"name": "gaussian", **start}}
        )
        return [r.task.run.id for r in chain.plan(values).requests if r.task.run.kind == "models"][-1]

    assert len({name(), name(sigma=0.0), name(seed=3)}) == 3


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ({"name": "cat-rs", "teacher": {"name": "gaussain"}}, ["method.teacher.name", "gaussian"]),
        ({"name": "cat-rs", "teacher": {"name": "gaussian", "sigma": -1.0}}, ["method.teacher.sigma"]),
        ({"name": "cat-rs", "teacher": {"name": "macer", "betta": 1.0}}, ["method.teacher.betta", "beta"]),
        ({"name": "cat-rs", "teacher": 3}, ["method.teacher", "3"]),
        ({"name": "heat", "start": {"name": "gaussian", "model": "resnet20"}}, ["method.start.model", "cnn"]),
        (
            {"name": "macer", "noises": 3, "training": {"noise_steps": "smaller"}},
            ["training.batch_size", "64", "noises = 3"],
        ),
    ],
)
def test_bad_input_is_named(chain: Chain, method: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(Invalid) as caught:
        chain.plan(tiny(method=method))
    for word in words:
        assert word in str(caught.value)


def test_another_noise_for_the_certificate_must_be_asked_for(chain: Chain) -> None:
    asked = {**tiny()["certification"], "sigma": 0.25}
    (counts,) = {
        r.task.run for r in chain.plan(tiny(certification=asked)).requests if r.task.run.kind == "counts"
    }
    assert (
        counts.count_spec.sigma,
        counts.store.run("models", counts.count_spec.model_run).train_spec.sigma,
    ) == (0.25, 0.5)
    (plain,) = {r.task.run for r in chain.plan(tiny(name="plain")).requests if r.task.run.kind == "counts"}
    assert plain.count_spec.sigma == 0.5


def test_several_noises_in_smaller_steps_take_the_steps_of_a_smaller_batch(chain: Chain) -> None:
    method = {"name": "consistency", "noises": 2}
    recipe = {"epochs": 1, "warmup_epochs": 0.0}
    smaller = prepared(
        chain, tiny(method=method, training={**recipe, "batch_size": 320, "noise_steps": "smaller"})
    )
    chain.run(smaller)
    halved = prepared(chain, tiny(name="half", method=method, training={**recipe, "batch_size": 160}))
    chain.run(halved)
    assert smaller.run.id != halved.run.id
    one, other = weights(smaller), weights(halved)
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_a_diverging_training_stops_says_where_and_keeps_the_last_good_checkpoint(chain: Chain) -> None:
    values = tiny(method={"name": "gaussian", "training": {"lr": 1e30, "epochs": 3, "schedule": "constant"}})
    (task,) = [r.task for r in chain.plan(values).requests if r.task.run.kind == "models"]
    with pytest.raises(InputError, match=r"diverged.*(at|after) step \d+.*training\.lr"):
        chain.run(task, _saving_every_step())
    assert not task.run.model_file.exists()
    saved = (
        torch.load(task.run.checkpoint_file, weights_only=True) if task.run.checkpoint_file.exists() else None
    )
    assert saved is None or all(value.isfinite().all() for value in saved["model"].values())


def _saving_every_step() -> type[TaskContext]:
    class SavingWork(TaskContext):
        def snapshot_due(self) -> bool:
            return True

    return SavingWork


def test_a_teacher_with_other_classes_is_refused(chain: Chain) -> None:
    """By its predictions, and by a pupil that has to compute them."""
    pupil = prepared(chain, sweep("cat-rs"))
    spec = pupil.run.train_spec
    predictions = chain.store.run("models", spec.predictions)
    predictions.model_file.unlink()
    assert spec.teacher is not None
    file = chain.store.run("models", spec.teacher.run).model_file
    stored = torch.load(file, weights_only=True)
    file.unlink()
    torch.save({**stored, "classes": 7}, file)
    for task in (Task(predictions, 0), pupil):
        with pytest.raises(RefusedError, match="7 classes, the data set 10"):
            chain.run(task)
