"""What the training loop costs over a method's bare step: python tests/benchmarks/step_time.py [--json].

The loop (data, crops, noise, curve, progress, checkpoint) runs as a real training task; between two of its steps the
same method's bare step is timed (loss, backward, optimiser, on noises drawn beforehand), so both see the same machine.
CPU seconds of the process on a CPU, so that what else the machine does doesn't count; seconds on a GPU.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from contextlib import redirect_stdout, suppress
from pathlib import Path
from statistics import fmean, median
from typing import Any

import torch
from bare_step import BareStep
from comparison import METHODS, ONE_THREAD, place_at

from jobs.precision import configure
from jobs.training import train
from rsctl.catalog import known_methods
from rsctl.catalog.declare import DataShape
from rsctl.catalog.predictions import PREDICTIONS
from rsctl.config.sweep import build_sweep
from rsctl.plan.commit import commit
from rsctl.plan.plan import make_plan
from rsctl.store.attempts import Claim, here
from rsctl.store.task_context import Stopped, TaskContext

FIRST = 3
"""Steps that warm up."""


class Timed(TaskContext):
    """Between two steps of the loop the bare step is run; both are timed."""

    bare: BareStep
    wanted = 10
    clock = staticmethod(time.process_time)

    def progress(self, done: float, total: float, unit: str, *, force: bool = False, **values: Any) -> None:
        # Called once a step, in the middle of the loop: so a whole turn of it lies between two calls.
        now = self.clock()
        if not force:
            self.turns = [*getattr(self, "turns", []), now - getattr(self, "since", now)]
        super().progress(done, total, unit, force=force, **values)
        spent = self.clock()
        self.bares = [*getattr(self, "bares", []), self.bare()]
        if len(self.turns) >= self.wanted + FIRST:
            self.request_stop("measured")
        self.since = now + (self.clock() - spent)


def folder_of_images(root: Path, count: int, size: int) -> str:
    """Random images: their content costs nothing else."""
    from PIL import Image

    for split in ("train", "test"):
        for name in ("a", "b"):
            folder = root / split / name
            folder.mkdir(parents=True, exist_ok=True)
            for number in range(count // 2):
                Image.effect_noise((size, size), 50).convert("RGB").save(folder / f"{number}.png")
    return str(root)


def measure(method: str, options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """One method on one architecture."""
    place = place_at(folder)
    declared = known_methods()[method]
    defaults = declared.default_values("digits", 0.25)
    values = {k: v for k, v in defaults.items() if k in declared.parameters.model_fields}
    if method == "cat-rs":
        values["teacher_draws"] = 1
    digits = options.model == "cnn"
    shape = DataShape(1, 8, 10, {}) if digits else DataShape(3, 32, 2, {})
    raw = {
        "name": method,
        "dataset": "digits" if digits else {"name": "imagefolder", "path": str(folder / "images")},
        "model": options.model,
        "method": {"name": method, **values},
        "sigma": 0.25,
        "training": {"epochs": 1000, "batch_size": options.batch, "noise_steps": "one"},
        "certification": {"n": 100, "max_images": 1},
        "precision": {"training": options.precision},
        "resources": ONE_THREAD,
    }
    place.store.mkdir(exist_ok=True)
    if not digits and not (folder / "images").exists():
        folder_of_images(folder / "images", max(2 * options.batch, 64), 32)
    for request in commit(
        make_plan(build_sweep(raw, "step", place.data), "step"), place, update=True
    ).requests:
        task = request.task
        if task.run.kind != "models" or task.run.train_spec.method == PREDICTIONS.name:
            continue  # the pupil gathers the few answers it needs
        claim = Claim.take(task.run, task.number, here())
        work = Timed(task.run, task.number, claim, place.data, task.run.launch())
        if task.run.train_spec.method != method or task.run.train_spec.sigma == 0:
            task.run.model_file.write_bytes(
                parent(task.run, shape)
            )  # untrained: its answers don't matter here
            claim.end("done", "")
            continue
        work.bare = BareStep(method, values, options.model, shape, options.batch, options.precision)
        work.wanted = options.steps
        if torch.cuda.is_available():
            work.clock = synchronised
        with redirect_stdout(sys.stderr), suppress(Stopped):
            train.main(work)
        claim.end("stopped", "measured")
        turn, bare = median(work.turns[FIRST:]), median(work.bares[FIRST:])
        return {
            "method": method, "model": options.model, "precision": options.precision, "batch": options.batch,
            "bare_ms": round(1000 * bare, 3), "loop_ms": round(1000 * turn, 3),
            "over_ms": round(1000 * (turn - bare), 3), "ratio": round(turn / bare, 3),
            # Means have the checkpoints and records in them, and the machine's moods.
            "ratio_of_means": round(fmean(work.turns[FIRST:]) / fmean(work.bares[FIRST:]), 3),
        }  # fmt: skip
    raise AssertionError(f"no training of {method} was planned")


def synchronised() -> float:
    torch.cuda.synchronize()
    return time.perf_counter()


def parent(run: Any, shape: DataShape) -> bytes:
    """A model file for a run that others start from."""
    from jobs.models import build_model
    from jobs.training.checkpoint import _bytes
    from rsctl.catalog import known_datasets

    spec = run.train_spec
    model = build_model(spec.model, {}, dataset=known_datasets()[spec.dataset], shape=shape)
    return _bytes(
        {
            "format": 1,
            "spec": spec.model_dump(mode="json"),
            "spec_hash": spec.hash,
            "classes": shape.classes,
            "data": "",
            "state_dict": model.state_dict(),
        }
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", action="store_true")
    parser.add_argument(
        "--methods", nargs="+", default=["gaussian", "consistency", "smoothadv"], choices=METHODS
    )
    parser.add_argument("--model", default="resnet20", help="cnn takes digits, others 32x32 images")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--precision", default="fp32")
    options = parser.parse_args()
    configure("fp32", 1)
    with tempfile.TemporaryDirectory() as folder:
        found = [measure(method, options, Path(folder)) for method in options.methods]
    if options.json:
        print(json.dumps({"rows": found, "load": round(os.getloadavg()[0], 2)}))
        return
    print(
        f"{options.model}, batch {options.batch}, {options.precision}, medians of {options.steps} steps, load {os.getloadavg()[0]:.1f}"
    )
    print(f"{'method':12} {'bare ms':>10} {'loop ms':>10} {'over ms':>10} {'ratio':>7} {'of means':>9}")
    for row in found:
        print(
            f"{row['method']:12} {row['bare_ms']:10.2f} {row['loop_ms']:10.2f} {row['over_ms']:10.2f} {row['ratio']:7.3f} {row['ratio_of_means']:9.3f}"
        )


if __name__ == "__main__":
    main()
