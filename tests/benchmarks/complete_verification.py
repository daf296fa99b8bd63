"""What complete verifiers settle, and how fast: python tests/benchmarks/complete_verification.py [--json].

Trains multilayer perceptrons of 200 ReLUs on 8x8 digits through the tool, on noisy images and against interval bounds,
and lets each complete verifier settle one radius after the other, for the same correctly classified test images.
`wall` and `cpu` are seconds per image; on a busy machine they differ, and the time limit is one of wall time.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import torch
from comparison import ONE_THREAD, finish, place_at

from jobs.data.sets import digits
from jobs.models.load import load_trained
from rsctl.catalog import known_verifiers
from rsctl.catalog.shape import shape_of
from rsctl.store.layout import Store

METHODS = {"gaussian": 0.1, "ibp": 0.0}
COLUMNS = ("method", "verifier", "radius", "proved", "refuted", "unknown", "median wall", "max wall", "median cpu", "max cpu")  # fmt: skip


def trained(folder: Path) -> dict[str, torch.nn.Module]:
    """A model of each method."""
    place = place_at(folder)
    for method, sigma in METHODS.items():
        values = {
            "name": method,
            "dataset": "digits",
            "model": {"name": "mlp", "widths": [100, 100]},
            "method": method,
            "sigma": sigma,
            "certification": {"sigma": 0.1, "n0": 10, "n": 10, "max_images": 1},
            "resources": ONE_THREAD,
        }
        finish(values, place, lambda line: print(line, file=sys.stderr, flush=True))
    runs = Store(folder).runs("models")
    return {run.train_spec.method: load_trained(run.model_file, run.train_spec.hash, shape_of("digits", {}, place.data))[0] for run in runs}  # fmt: skip


def measure(name: str, model: torch.nn.Module, radius: float, images: Any, labels: Any, limit: float) -> dict[str, float]:  # fmt: skip
    """Shares of the three answers and seconds per image."""
    verifier = known_verifiers()[name]
    prover = importlib.import_module(verifier.module).prepare(
        model, verifier.parameters(time_limit=limit), shape=shape_of("digits", {}, Path()),
        norm="linf", radii=[radius], precision="fp32",
    )  # fmt: skip
    wall, cpu, proved, refuted = [], [], 0, 0
    for image, label in zip(images, labels, strict=True):
        started, used = time.perf_counter(), time.process_time()
        said = prover.verify(image[None], label[None])
        wall.append(time.perf_counter() - started)
        cpu.append(time.process_time() - used)
        proved += float(said.radius) >= radius
        refuted += float(said.broken) <= radius
    count = len(images)
    return {
        "proved": proved / count, "refuted": refuted / count, "unknown": 1 - (proved + refuted) / count,
        "median wall": median(wall), "max wall": max(wall), "median cpu": median(cpu), "max cpu": max(cpu),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--images", type=int, default=20)
    parser.add_argument("--limit", type=float, default=30.0, help="seconds per image")
    parser.add_argument("--radii", nargs="+", type=float, default=[0.02, 0.05, 0.1])
    parser.add_argument("--verifiers", nargs="+", default=["milp", "branch-and-bound"])
    parser.add_argument("--store", type=Path, help="keep the models here")
    options = parser.parse_args()
    torch.set_num_threads(1)
    models = trained(options.store or Path(tempfile.mkdtemp()))
    pixels, labels = digits("test")
    images = pixels.float() / 255
    rows = []
    for method, model in models.items():
        right = (model(images).argmax(dim=1) == labels).nonzero()[: options.images, 0]
        for verifier in options.verifiers:
            for radius in options.radii:
                with solver_on_stderr():
                    found = measure(verifier, model, radius, images[right], labels[right], options.limit)
                rows.append({"method": method, "verifier": verifier, "radius": radius, **found})
                if not options.json:
                    show(rows[-1], first=len(rows) == 1)
    if options.json:
        print(json.dumps(rows))


@contextmanager
def solver_on_stderr() -> Iterator[None]:
    """HiGHS prints a line on stdout now and then, from C++; stdout is for the table."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def show(row: dict[str, Any], *, first: bool) -> None:
    if first:
        print("  ".join(f"{column:>16}" for column in COLUMNS))
    cells = [f"{row[column]:>16.3f}" if isinstance(row[column], float) else f"{row[column]:>16}" for column in COLUMNS]  # fmt: skip
    print("  ".join(cells), flush=True)


if __name__ == "__main__":
    main()
