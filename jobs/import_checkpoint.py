"""Imports a published checkpoint as the model of a run, and checks it for `rsctl certify CHECKPOINT` before anything is planned.

`python -m jobs.import_checkpoint` looks at a file and prints one JSON document: layout, architecture, normalisation and
why, accuracy with each normalisation.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import nn

from jobs.checkpoints.contest import LOOKS
from jobs.checkpoints.fitting import fitting, normalisation_for
from jobs.checkpoints.formats import Weights, read_weights
from jobs.checkpoints.judge import judge
from jobs.checkpoints.recognise import assumptions
from jobs.data import Images, load, require_planned
from jobs.precision import configure
from jobs.printing import print_json
from jobs.training.checkpoint import publish_model
from rsctl.catalog import find, known_datasets, known_models, use_plugins
from rsctl.catalog.checkpoints import CHECKPOINT
from rsctl.catalog.declare import DataSet, DataShape
from rsctl.catalog.shape import parameters_of, shape_of
from rsctl.catalog.weight_files import TAKEN
from rsctl.config.identity import completed
from rsctl.config.permutation import images_of
from rsctl.errors import InputError
from rsctl.store.files import replace, to_json
from rsctl.store.task_context import Stopped, TaskContext

NUMBERS = 1_300_000
MOST, FEWEST = 400, 100
"""Images classified first: 400 of CIFAR-10, 100 of ImageNet; up to 8 times as many where these don't decide."""


def take(work: TaskContext) -> None:
    """Publish the model of this run from the checkpoint that was copied into it; of that nothing but tensors is kept."""
    try:
        _take(work)
    except Stopped:
        raise  # and goes on later
    except Exception:
        # It may be anything that a sweep file named.
        work.run.published_file.unlink(missing_ok=True)
        raise
    work.run.published_file.unlink(missing_ok=True)


def _take(work: TaskContext) -> None:
    run, spec = work.run, work.run.train_spec
    device = configure("fp32", int(work.launch["threads"]))
    if not run.published_file.exists():
        raise InputError(
            f"{run.published_file}: no longer exists; the copy of a file that can't be used is deleted. 'rsctl submit' copies it again."
        )
    hyperparameters = completed(CHECKPOINT.parameters, spec.hyperparameters)
    weights = read_weights(run.published_file, hyperparameters["part"])
    if weights.sha256 != hyperparameters["sha256"]:
        raise InputError(
            f"{run.published_file}: isn't the file this run was planned for ({hyperparameters['sha256'][:12]}…) and was removed. 'rsctl submit' copies it again."
        )
    dataset = find("data set", spec.dataset, known_datasets())
    more = some_images(spec.dataset, work.launch["dataset_parameters"], work.data_root)
    images = next(more)
    require_planned(images, spec.dataset, spec.data)
    given = completed(find("model", spec.model, known_models()).parameters, spec.model_parameters)
    fit = fitting(weights, dataset, images.shape, spec.model, given)
    weights, stated, anyway = fit.weights, work.launch.get("stated", False), hyperparameters["anyway"]
    # What a sweep file doesn't say, the file does where it can.
    asked = hyperparameters["normalisation"] if stated or not weights.stored else ""
    normalisation = normalisation_for(weights, asked, dataset, images.shape, anyway=anyway)
    model, found, told = judge(
        weights, fit.model, fit.parameters, normalisation, dataset, images, spec.sigma, device,
        more=more, stated=stated or single(weights), anyway=anyway,
    )  # fmt: skip
    record = {
        "layout": weights.layout,
        "part": weights.part.name if weights.part else "",
        "left": weights.left,
        "also": fit.also,
        "normalisation": normalisation,
        "why": weights.why if normalisation == weights.normalisation else "as requested",
        "stored": [one.text for one in weights.stored],
        "stated": stated,
    }
    replace(run.path / TAKEN, to_json(record))
    print(
        f"{weights.layout}; {fit.model}; normalisation '{normalisation}': {found[normalisation]}",
        *fit.told,
        *told,
        sep="\n",
        flush=True,
    )
    publish_model(work, model, images)


def single(weights: Weights) -> bool:
    """True where the file stores one normalisation, which can be read in one way: then no images have to tell it from others."""
    return len({text for one in weights.stored for text in one.texts}) == 1


def some_images(dataset: str, parameters: dict[str, Any], data_root: Path) -> Iterator[Images]:
    """Test images, the same ones every time; then as many again as there were so far, where the test split has no more of training."""
    shape = shape_of(dataset, parameters, data_root)
    most = max(FEWEST, min(MOST, NUMBERS // shape.dimension))
    begun = 0
    for split, count in (("test", shape.counts["test"]), ("train", shape.counts["train"])):
        order = images_of(count, 0.0, 0, 1, most * 2 ** (LOOKS - 1))
        while order:
            lot, order = order[: begun or most], order[begun or most :]
            try:
                yield load(dataset, parameters, split, data_root, positions=lot)
            except InputError:
                if split == "test":
                    raise
                return  # whoever certifies needs no training images
            begun += len(lot)


def examine(options: argparse.Namespace) -> tuple[dict[str, Any], nn.Sequential, dict[str, Any]]:
    """Identify the model that a file holds; returns a report, the model and the data set's parameters, or raises UserError."""
    use_plugins(options.plugins)
    dataset: DataSet = find("data set", options.dataset, known_datasets())
    parameters = parameters_of("dataset", dataset, options.parameters).model_dump()
    shape: DataShape = shape_of(dataset.name, parameters, options.data)
    fit = fitting(
        read_weights(options.file, options.part), dataset, shape, options.arch, options.model_parameters
    )
    weights, name, architecture = fit.weights, fit.model, fit.parameters
    normalisation = normalisation_for(weights, options.normalisation, dataset, shape, anyway=options.anyway)
    device = configure("fp32", options.threads)
    more = some_images(dataset.name, parameters, options.data)
    images = next(more)
    model, found, told = judge(
        weights, name, architecture, normalisation, dataset, images, options.sigma, device,
        more=more, stated=bool(options.normalisation) or single(weights), anyway=options.anyway,
    )  # fmt: skip
    known = {
        "sha256": weights.sha256,
        "layout": weights.layout,
        "model": name,
        "model_parameters": architecture,
        "normalisation": normalisation,
        "why": "as requested" if options.normalisation else weights.why,
        "images": len(images),
        "says": {weights.claim[0]: weights.claim[1]} if weights.claim else {},
        "assumes": assumptions(name, architecture, weights, shape),
        "part": weights.part.name if weights.part else "",
        "left": weights.left,
        "also": fit.also,
        "told": [*fit.told, *told],
        "accuracy": {key: {"clean": one.clean, "noisy": one.noisy} for key, one in found.items()},
    }
    return known, model, parameters


def options_of(command: str) -> argparse.ArgumentParser:
    """Command-line options that describe a checkpoint."""
    parser = argparse.ArgumentParser(prog=command)
    parser.add_argument("file", type=Path)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--parameters", type=json.loads, default={})
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sigma", type=float, required=True)
    parser.add_argument("--normalisation", default="")
    parser.add_argument("--part", default="")
    parser.add_argument("--arch", default="")
    parser.add_argument("--model-parameters", type=json.loads, default={})
    parser.add_argument("--anyway", action="store_true")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--plugins", type=json.loads, default=[])
    return parser


def main(arguments: list[str]) -> int:
    """Entry point; errors go to stderr."""
    return print_json(lambda: examine(options_of("rsctl certify").parse_args(arguments))[0])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
