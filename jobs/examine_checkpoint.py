"""Identifies the model in a published checkpoint for `rsctl certify CHECKPOINT`, before anything is planned.

`python -m jobs.examine_checkpoint` prints one JSON document: layout, architecture, normalisation and why, accuracy with each
normalisation.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from torch import nn

from jobs.checkpoints.fitting import fitting, normalisation_for
from jobs.checkpoints.formats import read_weights
from jobs.checkpoints.generic_layers import assumptions
from jobs.checkpoints.judge import judge
from jobs.import_checkpoint import single, some_images
from jobs.precision import configure
from jobs.printing import print_json
from rsctl.catalog import find, known_datasets, use_plugins
from rsctl.catalog.declare import DataSet, DataShape
from rsctl.catalog.shape import parameters_of, shape_of


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
