"""Measures how fast a model is sampled on this device, in each precision and tile: `python -m jobs.bench`, behind `rsctl bench`.

Prints one JSON document: samples per second, and how often the argmax of a lower precision agrees with that of
fp32 under noise. A low agreement is no error: each precision is a classifier of its own, with its own certificate.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from jobs.certify.tiles import ON_A_GPU, fastest, rates_of, samples_per_second
from jobs.data import load
from jobs.memory import sized_by
from jobs.models import build_model
from jobs.models.load import Executed, load_trained, to_sample
from jobs.precision import configure, device_name
from jobs.printing import print_json
from jobs.random import generator, hash32
from rsctl.catalog import find, known_datasets, known_models
from rsctl.config.identity import identity
from rsctl.store.layout import Run

BLOCK = 100
TILES = {"cpu": (100, 200, 400, 800), "cuda": ON_A_GPU}
SECONDS = 1.5
"""Duration of one measurement."""


def bench(
    run: Run | None,
    model: str,
    dataset: str,
    parameters: dict[str, Any],
    data_root: Path,
    threads: int,
    sigma: float,
    compile_mode: str = "off",
) -> dict[str, Any]:
    """Measure a trained run, or an architecture with fresh weights, on test images of a data set.

    With a mode of `certification.compile` each precision is measured compiled, too, at the tile that was best without.
    """
    device = configure("fp32", threads)
    images = load(dataset, parameters, "test", data_root, positions=range(16))
    x = images.batch(torch.arange(16), device)[0].float() / 255

    def executed(precision: str, mode: str, tile: int) -> Executed:
        if run is not None:
            spec = run.train_spec
            network, _ = load_trained(run.model_file, spec.hash, images.shape)
        else:
            torch.manual_seed(hash32(0, "weights"))
            declared = find("data set", dataset, known_datasets())
            network = build_model(model, {}, dataset=declared, shape=images.shape).eval()
        return to_sample(network, precision, mode, tile, images.shape, device)

    precisions = ("fp32", "tf32", "bf16") if device.type == "cuda" else ("fp32", "bf16")
    noisy = x.repeat(25, 1, 1, 1)
    noisy = noisy + sigma * torch.randn(noisy.shape, generator=generator(device, "bench"), device=device)
    rows: list[dict[str, Any]] = []
    reference = None
    for precision in precisions:
        configure(precision, threads)
        tiles = TILES[device.type]
        for mode in dict.fromkeys(("off", compile_mode)):
            network = executed(precision, mode, tiles[0])
            chosen = classes_of(network, noisy, tiles[0])
            reference = chosen if reference is None else reference

            def rate(tile: int, network: Executed = network) -> float:
                classes = images.shape.classes
                return samples_per_second(network, x, classes, sigma, tile, BLOCK, device, SECONDS)

            rates = rates_of(tiles, rate)
            best = fastest(rates)
            agreement = float((chosen == reference).float().mean())
            figures = {"tile": best, "rates": rates, "samples_per_second": rates[best]}
            rows.append({"precision": precision, "compile": mode, "agreement": agreement, **figures})
            tiles = (best,)
    fresh = find("model", model, known_models()).parameters()
    return {
        "model": model,
        "dataset": dataset,
        "model_parameters": run.train_spec.model_parameters if run else identity(fresh),
        "dataset_parameters": run.train_spec.dataset_parameters if run else {},
        "device": device_name(device),
        "threads": threads,
        "time": time.time(),
        "rows": rows,
    }


@torch.inference_mode()
def classes_of(network: nn.Module, x: Tensor, tile: int) -> Tensor:
    """The argmax of each row, computed in tiles of one shape."""
    padded = torch.zeros((-(-len(x) // tile) * tile, *x.shape[1:]), device=x.device)
    padded[: len(x)] = x
    parts = padded.to(memory_format=torch.channels_last).split(tile)
    return torch.cat([network(part).argmax(dim=1) for part in parts])[: len(x)]


def main(arguments: list[str]) -> int:
    """Entry point; errors go to stderr."""
    parser = argparse.ArgumentParser(prog="rsctl bench")
    parser.add_argument("--run", type=Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--parameters", type=json.loads, default={})
    parser.add_argument("--data", dest="data_root", type=Path, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--sigma", type=float, required=True)
    parser.add_argument("--compile", dest="compile_mode", default="off")
    options = vars(parser.parse_args(arguments))
    options["run"] = Run(options["run"]) if options["run"] else None
    smallest = TILES["cuda" if torch.cuda.is_available() else "cpu"][0]

    def figures() -> dict[str, Any]:
        with sized_by(
            "tile", smallest, "The smallest one doesn't fit: this network needs a device with more memory."
        ):
            return bench(**options)

    return print_json(figures)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
