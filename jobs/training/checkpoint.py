"""Files that a training writes: checkpoints to resume from, and the model at its end."""

from __future__ import annotations

import hashlib
import io
import time
from typing import Any

import torch
from torch import nn

from jobs.data import Images
from jobs.models.normalize import Normalize, normalisation_of, of_dataset
from jobs.state import TrainingState
from jobs.tensors import load_tensors
from jobs.training.metrics import Metrics, diverged
from rsctl.catalog import find, known_datasets
from rsctl.errors import InputError, UserError
from rsctl.store import degenerate
from rsctl.store.files import publish, replace
from rsctl.store.task_context import TaskContext


def save_checkpoint(work: TaskContext, model: nn.Module, state: TrainingState, step: int) -> None:
    """Everything a resumed training needs, replaced whole; refuses weights that are no numbers."""
    if work.superseded():
        return
    if not all(value.isfinite().all() for value in model.parameters()):
        raise diverged(f"a weight is NaN or infinite after step {step}")
    started = time.monotonic()
    checkpoint = {
        "spec_hash": work.run.spec.hash,
        "step": step,
        "model": model.state_dict(),
        "optimizer": state.optimizer.state_dict(),
        "method": {name: thing.state_dict() for name, thing in state.kept.items()},
        "rng": torch.get_rng_state(),
        "rng_cuda": [torch.cuda.get_rng_state(state.device)] if state.device.type == "cuda" else [],
    }
    replace(work.run.checkpoint_file, _bytes(checkpoint))
    work.snapshot_written(time.monotonic() - started)


def resume(work: TaskContext, model: nn.Module, state: TrainingState) -> int:
    """Load the last checkpoint, if any; returns the step to resume at."""
    file = work.run.checkpoint_file
    if not file.exists():
        return 0
    try:
        # Not to "cpu:0", as several CPU processes call their device: torch knows no such place.
        saved = load_tensors(file, state.device.type)
        same = saved["spec_hash"] == work.run.spec.hash
    except UserError:
        raise
    except Exception as error:
        raise InputError(f"{file}: can't be read ({error}). Move it away to train from the start.") from error
    if not same:
        raise InputError(f"{file}: belongs to another run. Move it away to train from the start.")
    model.load_state_dict(saved["model"])
    state.optimizer.load_state_dict(saved["optimizer"])
    state.saved = saved.get("method", {})
    torch.set_rng_state(saved["rng"].cpu())
    if state.device.type == "cuda" and saved["rng_cuda"]:
        # Of one GPU: the next attempt may see fewer of them than this one.
        torch.cuda.set_rng_state(saved["rng_cuda"][0].cpu(), state.device)
    print(f"resumed at step {saved['step']}", flush=True)
    return int(saved["step"])


def report_end(work: TaskContext, metrics: Metrics, classes: int) -> None:
    """Record the classes predicted for a training's last images, and warn where the network learned nothing."""
    if not metrics.last:  # resumed after its last step
        return
    degenerate.write(work.run.path, metrics.ended(classes), training=True)
    if found := degenerate.of_folder(work.run.path):
        print(f"warning: the network learned nothing: {found.text}", flush=True)


def publish_model(work: TaskContext, model: nn.Sequential, images: Images) -> None:
    """Publish `model.pt`: the first copy wins, and no later one replaces it."""
    spec = work.run.train_spec
    weights = {
        name: value.detach().to("cpu", torch.float32 if value.is_floating_point() else value.dtype)
        for name, value in model.state_dict().items()
    }
    if not all(value.isfinite().all() for value in weights.values() if value.is_floating_point()):
        raise diverged("a weight is NaN or infinite at the end")
    dataset = find("data set", spec.dataset, known_datasets())
    used, usual = normalisation_of(model).values(), Normalize(*of_dataset(dataset, images.shape.channels))
    # Only where it isn't the data set's own.
    own = {} if used == usual.values() else {"normalisation": used}
    sha256, won = publish_result(work, images, state_dict=weights, **own)
    late = "" if won else " (another attempt published first: its model is kept)"
    print(f"model.pt {sha256}{late}", flush=True)


def publish_result(work: TaskContext, images: Images, **content: Any) -> tuple[str, bool]:
    """Publish `model.pt` with this content: the first copy wins. Returns its SHA-256, and whether this copy won."""
    spec = work.run.train_spec
    header = {"format": 1, "spec": spec.model_dump(mode="json"), "spec_hash": spec.hash}
    data = _bytes({**header, "classes": images.shape.classes, "data": images.fingerprint, **content})
    won = publish(work.run.model_file, data)
    if won:
        work.run.checkpoint_file.unlink(missing_ok=True)
    return hashlib.sha256(data).hexdigest(), won


def _bytes(value: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()
