"""Training methods at equal compute on CIFAR-10 image files: python tests/benchmarks/compare_methods_cifar.py --store FOLDER.

ResNet-20 in bf16 on one thread, every 4th training image, one recipe for all. The budget is CPU seconds of the training
process, so that what else the machine does doesn't count: a calibration measures each method's bare step, and the
epochs follow. Methods have the authors' values for CIFAR-10 at this σ with fewer noises and attack steps. Nothing was
tuned on these images. CAT-RS pays for its teacher's predictions but not for the teacher (the Gaussian model of this table);
HeatSmoothing gets half the budget, the model it starts from the other half. Started again, it goes on.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from bare_step import BareStep
from comparison import METHODS, ONE_THREAD, finish, found, place_at, print_summary, summary

from jobs.precision import configure
from rsctl.catalog import known_methods
from rsctl.catalog.declare import DataShape
from rsctl.catalog.folders import image_files
from rsctl.config.settings import Place

RADII = [0.0, 0.25, 0.5, 0.75]
REDUCED: dict[str, dict[str, Any]] = {
    "smoothadv": {"noises": 2, "steps": 2},
    "macer": {"noises": 4},
    "smoothmix": {"noises": 2, "steps": 2, "alpha": 1.0},  # half the steps of twice the length
    "cat-rs": {"noises": 2, "steps": 1, "teacher_draws": 20},
    "adre-reg": {"noises": 2},
    "adre-adv": {"noises": 2, "steps": 1},
    "sodm": {"noises": 4, "mapping_noises": 16},
    # The one-epoch variant: five times 200 epochs from new weights have no small form.
    "heat": {
        "timesteps": 1, "reinitialize": False, "softmax": True, "noisy_share": 0.5, "gamma": 1.0,
        "projections": 2, "difference": 0.1,
    },
}  # fmt: skip
ORDER = ("gaussian", "consistency", "smoothadv", "macer", "stability", "smoothmix", "cat-rs", "adre-reg", "sodm", "heat", "adre-adv")  # fmt: skip
BATCH = 128
WARMUPS = ("warmup",)
"""Hyper-parameters in epochs of a longer training: shortened with it."""


def subset(place: Place, every: int) -> tuple[str, int]:
    """A folder with links to every so many-th training image of each class; its name, and how many images."""
    source, name = place.data / "cifar10", f"cifar10-every-{every}"
    folder = place.store / name
    names = tuple(sorted(entry.name for entry in (source / "train").iterdir()))
    chosen = [
        file for index, (file, _, _) in enumerate(image_files(source, "train", names)) if index % every == 0
    ]
    for file in chosen:
        link = folder / file
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.exists():
            link.symlink_to(source / file)
    if not (folder / "test").exists():
        (folder / "test").symlink_to(source / "test")
    return str(folder), len(chosen)


def hyperparameters(method: str, sigma: float) -> dict[str, Any]:
    """The declared values for CIFAR-10, reduced."""
    declared = known_methods()[method]
    values = declared.default_values("cifar10", sigma)
    return {k: v for k, v in values.items() if k in declared.parameters.model_fields} | REDUCED.get(
        method, {}
    )


def step_seconds(method: str, values: dict[str, Any], images: int, precision: str) -> tuple[float, float]:
    """CPU seconds of a step, the second smallest of seven, and of what comes before the first step."""
    shape = DataShape(3, 32, 10, {"train": images, "test": images})
    if method == "cat-rs":
        values = {**values, "teacher_draws": 1}  # the predictions are timed below
    step = BareStep(method, values, "resnet20", shape, BATCH, precision)
    seconds = sorted(step() for _ in range(7))[1]
    if method != "cat-rs":
        return seconds, 0.0
    from time import process_time

    from jobs.methods.cat_rs import smoothed_prediction

    step.state.parameters["teacher_draws"] = REDUCED["cat-rs"]["teacher_draws"]
    teacher = step.state.load("teacher")
    started = process_time()
    with step.accelerator.autocast():
        for row in range(20):
            smoothed_prediction(teacher, row, step.state)
    return seconds, (process_time() - started) / 20 * images


def sweep(method: str, options: argparse.Namespace, folder: str, epochs: int, start: int) -> dict[str, Any]:
    """One method's sweep; `start` is the number of epochs of the model that HeatSmoothing begins with."""
    values = hyperparameters(method, options.sigma)
    for key in WARMUPS:
        if key in values:
            values[key] = max(1, round(values[key] * epochs / 150))
    recipe = {
        "batch_size": BATCH, "lr": 0.1, "schedule": "onecycle", "weight_decay": 5e-4, "nesterov": True,
        "noise_steps": "one", "optimizer": "sgd", "momentum": 0.9, "label_smoothing": 0.0,
    }  # fmt: skip
    table: dict[str, Any] = {"name": method, **values}
    own = {**recipe, "epochs": epochs, "warmup_epochs": epochs / 5}
    first = {**recipe, "epochs": start, "warmup_epochs": start / 5}
    if method == "heat":
        own |= {"lr": 0.01, "gradient_clip": 5.0}
        table["start"] = {"name": "gaussian", "sigma": 0.0, "training": first}
    if method == "cat-rs":
        table["teacher"] = {"name": "gaussian", "training": first}
    return {
        "name": f"cifar-{method}",
        "dataset": {"name": "imagefolder", "path": folder, "size": 32},
        "model": "resnet20",
        "method": {**table, "training": own},
        "sigma": options.sigma,
        "certification": {
            "n0": 100, "n": options.n, "max_images": options.images, "certificates": ["cohen"], "radii": RADII,
        },
        "precision": {"training": options.precision, "certification": options.precision},
        "resources": ONE_THREAD,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--store", type=Path, required=True, help="keep the runs here, and go on with them")
    parser.add_argument("--methods", nargs="+", default=list(ORDER), choices=METHODS)
    parser.add_argument("--sigma", type=float, default=0.25)
    parser.add_argument("--minutes", type=float, default=8.0, help="CPU minutes of each method's training")
    parser.add_argument("--every", type=int, default=4, help="every so many-th training image")
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--precision", default="bf16")
    parser.add_argument("--show", action="store_true", help="only what the store has by now")
    options = parser.parse_args()
    configure("fp32", 1)
    place = place_at(options.store.resolve())
    folder, images = subset(place, options.every)
    steps = -(-images // BATCH)
    notes = place.store / "calibration.json"
    measured: dict[str, list[float]] = json.loads(notes.read_text()) if notes.exists() else {}
    results, budget = [], options.minutes * 60

    def epochs_of(method: str, share: float = 1.0) -> int:
        if method not in measured:
            measured[method] = list(
                step_seconds(method, hyperparameters(method, options.sigma), images, options.precision)
            )
            notes.write_text(json.dumps(measured))
        seconds, before = measured[method]
        return max(1, round((budget * share - before) / (seconds * steps)))

    for method in options.methods:
        name = f"cifar-{method}"
        if not options.show:
            start = epochs_of("gaussian", 0.5 if method == "heat" else 1.0)
            epochs = epochs_of(method, 0.5 if method == "heat" else 1.0)
            finish(
                sweep(method, options, folder, epochs, start), place,
                lambda line: print(line, file=sys.stderr, flush=True),
            )  # fmt: skip
        if (place.store / "sweeps" / name).exists():
            results += found(place, name, RADII)
    records = summary(results, RADII)
    missing = [method for method in options.methods if method not in {one.method for one in results}]
    if options.json:
        print(json.dumps({"methods": records, "missing": missing, "step_cpu_seconds": measured}))
    else:
        print_summary(records, RADII)
        print(f"missing: {', '.join(missing) or 'none'}")


if __name__ == "__main__":
    main()
