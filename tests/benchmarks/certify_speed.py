"""Sampling speed against the published loop, in one run: python tests/benchmarks/certify_speed.py [--json].

The reference is the loop that the field's code shares, written out here: one image at a time, fp32, contiguous
memory, batches of 400, a host synchronisation per batch. `share_of_forward` is our sampler's throughput over
the bare forward pass of the very same executed function on one resident tile.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable

import torch
from torch import nn

from jobs.models import build_model
from jobs.models.load import Executed
from jobs.precision import configure
from jobs.sampling.sampler import ImageCounts, Sampler
from rsctl.catalog import known_datasets
from rsctl.catalog.declare import DataShape

SIGMA, CLASSES, SHAPE = 0.5, 10, (3, 32, 32)


def published_loop(model: nn.Module, images: torch.Tensor, n: int, device: torch.device) -> None:
    """Counts of each image, one image and one batch of 400 at a time."""
    with torch.no_grad():
        for image in images:
            counts, left = torch.zeros(CLASSES, dtype=torch.int64), n
            while left:
                size = min(400, left)
                left -= size
                batch = image.repeat(size, 1, 1, 1)
                noise = torch.randn_like(batch, device=device) * SIGMA
                chosen = model(batch + noise).argmax(1).cpu()
                counts += torch.bincount(chosen, minlength=CLASSES)


def ours(executed: nn.Module, images: torch.Tensor, n: int, tile: int, device: torch.device) -> None:
    """The same draws through the sampler."""
    sampler = Sampler(
        executed, CLASSES, sigma=SIGMA, seed=0, n0=100, n=n - 100, tile=tile, block=100, device=device
    )
    under_way = (
        ImageCounts(i, 0, image, torch.zeros(2, CLASSES, dtype=torch.int64)) for i, image in enumerate(images)
    )
    for _ in sampler.run(under_way):
        pass


def forward(executed: nn.Module, tile: int, repeats: int, device: torch.device) -> None:
    """The bare forward pass, nothing else."""
    x = torch.rand((tile, *SHAPE), device=device).to(memory_format=torch.channels_last)
    with torch.inference_mode():
        for _ in range(repeats):
            executed(x)


def rate(work: Callable[[], None], samples: int, device: torch.device) -> float:
    """Samples per second of one run."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    started = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return samples / (time.perf_counter() - started)


def trained_like(name: str) -> nn.Module:
    """The architecture with batch statistics of its own, so that folding has something to fold."""
    torch.manual_seed(0)
    model = build_model(
        name, {}, dataset=known_datasets()["cifar10"], shape=DataShape(*SHAPE[:2], CLASSES, {})
    )
    with torch.no_grad():
        model.train()(torch.rand(64, *SHAPE))
    return model.eval()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--model", default="resnet110")
    parser.add_argument("--n", type=int, default=400, help="draws per image")
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--tile", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args()
    device = configure("fp32", options.threads)
    images = torch.rand((options.images, *SHAPE), device=device)
    samples = options.images * options.n
    reference = trained_like(options.model).to(device)
    executed = {
        precision: Executed(trained_like(options.model), precision).to(device)
        for precision in ("fp32", "bf16")
    }
    rates: dict[str, list[float]] = {
        name: [] for name in ("loop", "fp32", "bf16", "forward_fp32", "forward_bf16")
    }
    for measured in range(-1, options.rounds):
        # All of them in turn within a round: the machine's mood cancels in the ratios. The first round warms up.
        found = {"loop": rate(lambda: published_loop(reference, images, options.n, device), samples, device)}
        for precision, function in executed.items():
            found[precision] = rate(
                lambda f=function: ours(f, images, options.n, options.tile, device), samples, device
            )
            repeats = max(1, samples // options.tile)
            found[f"forward_{precision}"] = rate(
                lambda f=function, k=repeats: forward(f, options.tile, k, device),
                repeats * options.tile,
                device,
            )
        if measured >= 0:
            for name, value in found.items():
                rates[name].append(value)
    middle = {name: sorted(values)[len(values) // 2] for name, values in rates.items()}
    ratio = {
        name: sorted(a / b for a, b in zip(rates[name], rates["loop"], strict=True))
        for name in ("fp32", "bf16")
    }
    share = sorted(a / b for a, b in zip(rates["bf16"], rates["forward_bf16"], strict=True))
    figures = {
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "model": options.model,
        "samples_per_second": {name: round(value, 1) for name, value in middle.items()},
        "ratio_fp32": round(ratio["fp32"][len(ratio["fp32"]) // 2], 2),
        "ratio_bf16": round(ratio["bf16"][len(ratio["bf16"]) // 2], 2),
        "share_of_forward": round(share[len(share) // 2], 3),
        "load": round(os.getloadavg()[0], 2),
    }
    if options.json:
        print(json.dumps(figures))
        return
    print(
        f"{figures['model']} on {figures['device']}, {samples} samples, median of {options.rounds} rounds, load {figures['load']}"
    )
    for name, value in middle.items():
        print(f"{name:16} {value:10.1f} samples/s")
    for name in ("ratio_fp32", "ratio_bf16", "share_of_forward"):
        print(f"{name:16} {figures[name]:10}")


if __name__ == "__main__":
    main()
