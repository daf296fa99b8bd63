from __future__ import annotations

from jobs.behaviour import act, behaviour
from rsctl.store.files import publish
from rsctl.store.work import Work


def main(work: Work) -> None:
    act(work, work.run.train_spec.sigma in behaviour(work).get("train_fails", []))
    publish(work.run.model_file, b"a model")
