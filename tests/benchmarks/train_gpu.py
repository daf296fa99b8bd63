"""Gaussian augmentation and Consistency on a GPU: python tests/benchmarks/train_gpu.py --data FOLDER_OR_TAR --store FOLDER --minutes 10.

Trains ResNet-110 on CIFAR-10 image files for the minutes given to each method, certifies 500 test images at n = 100,000 as
tasks of the tool, and prints the certified accuracies beside the published ones. The images are lossy JPEG copies and the
trainings are short: nothing here is a reproduction. `--limit` ends a call in good time; the same call again goes on.
Without a GPU `--tiny` runs all of it in a minute.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

import torch
from bare_step import BareStep
from comparison import finish, found, place_at

from jobs.precision import configure, device_name
from rsctl.catalog import known_methods
from rsctl.catalog.declare import DataShape
from rsctl.report.baselines import published_tables

RADII = [0.0, 0.25, 0.5, 0.75, 1.0, 1.5]
PUBLISHED = {"gaussian": "cohen2019-cifar10", "consistency": "consistency2020-cifar10"}
LABEL = "lossy JPEG copies, not a reproduction"


def image_folder(data: Path, store: Path) -> Path:
    """The folder that holds `train`; an archive is unpacked once."""
    if data.is_file():
        folder = store / "images"
        if not (folder / "unpacked").exists():
            with tarfile.open(data) as archive:
                archive.extractall(folder, filter="data")
            (folder / "unpacked").touch()
        data = folder
    for candidate in (data, *sorted(child for child in data.iterdir() if child.is_dir())):
        if (candidate / "train").is_dir():
            return candidate
    raise SystemExit(f"{data}: no folder 'train' in it. Give an image folder, or an archive of one.")


def images_of(folder: Path) -> int:
    return sum(len(list(child.iterdir())) for child in (folder / "train").iterdir())


def epochs_for(method: str, values: dict[str, Any], options: argparse.Namespace, images: int) -> int:
    """As many as fit into the minutes, by the bare step and a tenth for the loop."""
    if options.tiny:
        return 1
    shape = DataShape(3, 32, 10, {})
    batch = options.batch // values.get("noises", 1)
    step = BareStep(method, values, options.model, shape, batch, options.precision)
    seconds = sorted(step() for _ in range(12))[3]
    return max(1, round(60 * options.minutes / (1.1 * seconds * -(-images // batch))))


def sweep(
    method: str, values: dict[str, Any], epochs: int, folder: Path, options: argparse.Namespace
) -> dict[str, Any]:
    training = {
        "epochs": epochs, "batch_size": options.batch, "lr": 0.1, "schedule": "onecycle", "warmup_epochs": epochs / 5,
        "weight_decay": 5e-4, "nesterov": True,
        # Consistency: m smaller steps of every batch, as the authors' code makes them.
        "noise_steps": "smaller",
    }  # fmt: skip
    gpu = "auto" if torch.cuda.is_available() else 0
    return {
        "name": f"gpu-{method}",
        "dataset": {"name": "imagefolder", "path": str(folder), "size": 32},
        "model": options.model,
        "method": {"name": method, **values, "training": training},
        "sigma": options.sigma,
        "certification": {
            "n0": 100, "n": options.n, "alpha": 0.001, "max_images": options.images, "certificates": ["cohen"],
            "tile": options.tile, "radii": RADII,
        },
        "precision": {"training": options.precision, "certification": options.precision},
        "resources": {stage: {"threads": options.threads, "gpus": gpu} for stage in ("training", "certification")},
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--data", type=Path, required=True, help="an image folder, or a .tar.gz of one")
    parser.add_argument("--store", type=Path, required=True, help="keep the runs here, and go on with them")
    parser.add_argument("--minutes", type=float, default=8.0, help="of each method's training")
    parser.add_argument(
        "--limit", type=float, default=0.0, help="seconds after which this call stops and saves; 0: never"
    )
    parser.add_argument("--methods", nargs="+", default=list(PUBLISHED), choices=list(PUBLISHED))
    parser.add_argument("--model", default="resnet110")
    parser.add_argument("--sigma", type=float, default=0.25)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--n", type=int, default=100_000)
    parser.add_argument("--tile", type=int, default=4000)
    parser.add_argument("--precision", default="bf16")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument(
        "--tiny", action="store_true", help="a trial on a CPU: ResNet-20, one epoch, ten images, n = 200"
    )
    options = parser.parse_args()
    if options.tiny:
        options.model, options.images, options.n, options.tile, options.threads = "resnet20", 10, 200, 200, 1
        options.precision, options.batch = "fp32", 64
    options.store = options.store.resolve()
    options.store.mkdir(parents=True, exist_ok=True)
    ends = time.monotonic() + options.limit if options.limit else None
    device = configure(options.precision, options.threads)
    folder, place = image_folder(options.data.resolve(), options.store), place_at(options.store)
    notes = options.store / "epochs.json"
    epochs: dict[str, int] = json.loads(notes.read_text()) if notes.exists() else {}
    rows = []
    for method in options.methods:
        declared = known_methods()[method]
        defaults = declared.default_values("cifar10", options.sigma)
        values = {k: v for k, v in defaults.items() if k in declared.parameters.model_fields}
        if method not in epochs:
            epochs[method] = epochs_for(method, values, options, images_of(folder))
            notes.write_text(json.dumps(epochs))
        done = finish(
            sweep(method, values, epochs[method], folder, options), place,
            lambda line: print(line, file=sys.stderr, flush=True), ends=ends,
        )  # fmt: skip
        published = next(
            (row for row in published_tables()[PUBLISHED[method]].rows if row.sigma == options.sigma), None
        )
        table = published_tables()[PUBLISHED[method]]
        for one in found(place, f"gpu-{method}", RADII):
            rows.append(
                {
                    "method": method, "sigma": options.sigma, "epochs": one.epochs, "images": one.images, "n": options.n,
                    "certified": dict(zip(map(str, RADII), one.figures, strict=False)), "acr": one.figures[-1],
                    "published": published and {
                        "table": table.name, "acr": published.acr,
                        "certified": {str(r): c for r, c in zip(table.radii, published.certified, strict=True)},
                    },
                }
            )  # fmt: skip
        if not done:
            print("stopped and saved: the same call again goes on", file=sys.stderr)
            break
    if options.json:
        print(
            json.dumps({"label": LABEL, "device": device_name(device), "model": options.model, "rows": rows})
        )
        return
    print(
        f"CIFAR-10 ({LABEL}), {options.model}, {options.precision}, sigma = {options.sigma}, {device_name(device)}"
    )
    print(f"{'method':26} {'epochs':>6}  " + "  ".join(f"r={r:<5g}" for r in RADII) + "     ACR")
    for row in rows:
        shown = "  ".join(f"{100 * value:7.1f}" for value in row["certified"].values())
        print(
            f"{row['method']:26} {row['epochs']:6}  {shown}  {row['acr']:6.3f}   here, {row['images']} images, n = {row['n']:,}"
        )
        if row["published"]:
            there = row["published"]
            shown = "  ".join(f"{there['certified'].get(str(r), float('nan')):7.1f}" for r in RADII)
            print(f"{'':26} {'':6}  {shown}  {there['acr'] or float('nan'):6.3f}   {there['table']}")


if __name__ == "__main__":
    main()
