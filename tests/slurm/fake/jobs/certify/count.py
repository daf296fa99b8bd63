from __future__ import annotations

from jobs.behaviour import act, behaviour
from rsctl.errors import InputError
from rsctl.store.task_context import TaskContext


def main(work: TaskContext) -> None:
    if not work.run.store.run("models", work.run.spec.model_run).model_file.exists():
        raise InputError("its model isn't there")
    act(work, work.task in behaviour(work).get("count_fails", []))
