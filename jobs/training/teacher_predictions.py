"""Computes a teacher's smoothed predictions on the training split, as a run of its own that its pupils read."""

from __future__ import annotations

from jobs.precision import device_name
from jobs.predictions import SoftPredictions, gather
from jobs.training.checkpoint import publish_result
from jobs.training.session import Session
from rsctl.catalog.predictions import PREDICTIONS
from rsctl.store.task_context import TaskContext


def main(work: TaskContext) -> None:
    """Publish the table of this run; returns at once if it is there."""
    if work.run.model_file.exists():
        return
    session = Session(work, PREDICTIONS.parameters)
    total, step, device = len(session.images), session.resume(), device_name(session.device)
    with session.autocast():
        for done in gather(session.state, session.state.parameters["draws"]):
            work.progress(done, total, "images", device=device)
            session.save_or_stop(step)
    work.progress(total, total, "images", force=True, device=device)
    session.accelerator.wait_for_everyone()
    if session.is_first:
        shares = session.state.get("soft", SoftPredictions).shares.cpu()
        publish_result(work, session.images, shares=shares)
    session.accelerator.end_training()
