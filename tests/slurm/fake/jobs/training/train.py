from __future__ import annotations

from jobs.behaviour import act, behaviour
from rsctl.errors import InputError
from rsctl.store.files import publish
from rsctl.store.task_context import TaskContext


def main(work: TaskContext) -> None:
    parents = (origin.run for origin in work.run.train_spec.parents.values())
    if absent := [name for name in parents if not work.run.store.run("models", name).model_file.exists()]:
        raise InputError(f"models it starts from or learns from aren't there: {', '.join(absent)}")
    act(work, work.run.train_spec.sigma in behaviour(work).get("train_fails", []))
    publish(work.run.model_file, b"a model")
