"""Sampling speed against the published loop, in one run: python tests/benchmarks/certify_speed.py [--json].

The reference is the loop that the field's code shares, written out here: one image at a time, fp32, contiguous
memory, batches of 400, a host synchronisation per batch. `share_of_forward` is our sampler's throughput over
the bare forward pass of the very same executed function on one resident tile, in the same precision. `bf16_exact` is the
sampler in bf16 with `certification.arithmetic = "exact"`.

On a CPU a second table is of one thread and of CPU time, which other work on the machine disturbs less. On a GPU
(`--tile 4000`) it measures tf32 as well, bf16 as `certification.compile` runs it in each mode (`--compiled` names other
precisions, also on a CPU; compiling takes minutes), how often the host waits for the GPU, per tile, and the share of the
reckoned ceiling: memory traffic of the convolutions' outputs, written and read once in bf16, at the bandwidth given.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from jobs.certify.noisy_inputs import NoisyInputs
from jobs.certify.sampler import ImageCounts, Sampler
from jobs.memory import MMAP_MAX, TRIM_THRESHOLD
from jobs.models import build_model
from jobs.models.load import Executed, to_sample
from jobs.precision import configure, device_name
from rsctl.catalog import known_datasets
from rsctl.catalog.declare import DataShape
from rsctl.errors import UserError

SIGMA, CLASSES, SHAPE = 0.5, 10, (3, 32, 32)
MMAP_THRESHOLD = -3
"""A number of glibc's <malloc.h>."""
Clock = Callable[[], float]


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


def default_memory() -> None:
    """As a process has it that doesn't call `keep_freed`: what glibc's thresholds come to for tensors of this size."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(MMAP_MAX, 65536)
        mallopt(MMAP_THRESHOLD, 32 * 2**20)
        mallopt(TRIM_THRESHOLD, 64 * 2**20)


def ours(
    executed: nn.Module,
    images: torch.Tensor,
    n: int,
    tile: int,
    device: torch.device,
    arithmetic: str = "float",
) -> None:
    """The same draws through the sampler."""
    inputs = NoisyInputs(SIGMA, (0,), n - 100, device, arithmetic=arithmetic)
    sampler = Sampler(executed, CLASSES, inputs, n0=100, tile=tile, block=100)
    under_way = (
        ImageCounts(i, 0, image, torch.zeros(2, CLASSES, dtype=torch.int64)) for i, image in enumerate(images)
    )
    for _ in sampler.run(under_way):
        pass


def forward(executed: nn.Module, x: torch.Tensor, repeats: int) -> None:
    """The bare forward pass, nothing else."""
    with torch.inference_mode():
        for _ in range(repeats):
            executed(x)


def rate(work: Callable[[], None], samples: int, device: torch.device, clock: Clock) -> float:
    """Samples per second of one run."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    started = clock()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return samples / (clock() - started)


def waits(work: Callable[[], None]) -> int:
    """How often the host waits for the GPU in one run."""
    torch.cuda.set_sync_debug_mode("warn")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        work()
    torch.cuda.set_sync_debug_mode("default")
    return sum("synchroniz" in str(one.message) for one in caught)


def trained_like(name: str) -> nn.Module:
    """The architecture with batch statistics of its own, so that folding has something to fold."""
    torch.manual_seed(0)
    model = build_model(
        name, {}, dataset=known_datasets()["cifar10"], shape=DataShape(*SHAPE[:2], CLASSES, {})
    )
    with torch.no_grad():
        model.train()(torch.rand(64, *SHAPE))
    return model.eval()


def traffic(model: nn.Module) -> int:
    """Bytes per image if every convolution's output is written and read once in bf16, all else being fused."""
    outputs = 0

    def count(_: nn.Module, __: Any, result: torch.Tensor) -> None:
        nonlocal outputs
        outputs += result[0].numel()

    hooks = [
        module.register_forward_hook(count) for module in model.modules() if isinstance(module, nn.Conv2d)
    ]
    with torch.inference_mode():
        model(torch.zeros(1, *SHAPE))
    for hook in hooks:
        hook.remove()
    return outputs * 2 * 2


def measure(options: argparse.Namespace, threads: int, clock: Clock) -> dict[str, Any]:
    """Medians over rounds of all rates, and of their ratios within a round."""
    device = configure("fp32", threads)
    images = torch.rand((options.images, *SHAPE), device=device)
    with torch.inference_mode():  # as the sampler's tiles are, which compiled code insists on
        tile = torch.rand((options.tile, *SHAPE), device=device).to(memory_format=torch.channels_last)
    samples = options.images * options.n
    reference = trained_like(options.model).to(device)
    precisions = ("fp32", "tf32", "bf16") if device.type == "cuda" else ("fp32", "bf16")
    modes = ("default", "graphs") if device.type == "cuda" else ("default",)
    shape = DataShape(*SHAPE[:2], CLASSES, {})
    executed: dict[str, tuple[str, Executed]] = {}
    refused: dict[str, str] = {}
    for precision in precisions:
        configure(precision, threads)
        for mode in ("off", *(modes if precision in options.compiled else ())):
            name = precision if mode == "off" else f"{precision}_{mode}"
            note(f"{name} …")
            try:
                function = to_sample(
                    trained_like(options.model), precision, mode, options.tile, shape, device
                )
            except UserError as error:  # a missing compiler leaves the other columns
                refused[name] = str(error)
            else:
                executed[name] = (precision, function)
    repeats = max(1, samples // options.tile)
    rounds: list[dict[str, float]] = []
    for number in range(options.rounds + 1):
        # All of them in turn within a round: the machine's mood cancels in the ratios. The first round warms up.
        configure("fp32", threads)
        default_memory()  # the loop's; `configure` sets ours again
        found = {
            "loop": rate(lambda: published_loop(reference, images, options.n, device), samples, device, clock)
        }
        for name, (precision, function) in executed.items():
            configure(precision, threads)
            found[name] = rate(
                lambda f=function: ours(f, images, options.n, options.tile, device), samples, device, clock
            )
            found[f"forward_{name}"] = rate(
                lambda f=function: forward(f, tile, repeats), repeats * options.tile, device, clock
            )
        configure("bf16", threads)
        found["bf16_exact"] = rate(
            lambda: ours(executed["bf16"][1], images, options.n, options.tile, device, "exact"),
            samples, device, clock,
        )  # fmt: skip
        rounds.append(found)
        note(f"round {number} of {options.rounds}: {found}")
    rounds = rounds[1:]
    figures: dict[str, Any] = {
        "samples_per_second": {name: round(median([r[name] for r in rounds]), 1) for name in rounds[0]}
    }
    for name in executed:
        figures[f"ratio_{name}"] = round(median([r[name] / r["loop"] for r in rounds]), 2)
        figures[f"share_of_forward_{name}"] = round(
            median([r[name] / r[f"forward_{name}"] for r in rounds]), 3
        )
    figures["ratio_exact_to_float"] = round(median([r["bf16_exact"] / r["bf16"] for r in rounds]), 3)
    figures["share_of_forward"] = figures["share_of_forward_bf16"]
    if device.type == "cuda":
        configure("bf16", threads)
        waited = waits(lambda: ours(executed["bf16"][1], images, options.n, options.tile, device))
        figures["waits_per_tile"] = round(waited / (samples / options.tile), 3)
        ceiling = options.bandwidth * 1e12 / traffic(trained_like(options.model))
        figures["ceiling"] = round(ceiling)
        figures["share_of_ceiling"] = {
            name: round(figures["samples_per_second"][name] / ceiling, 3)
            for name in executed
            if name.startswith("bf16")
        }
    if refused:
        figures["refused"] = refused
    return figures


def note(text: str) -> None:
    """Progress, on stderr."""
    print(text, file=sys.stderr, flush=True)


def median(values: list[float]) -> float:
    """The middle one."""
    return sorted(values)[len(values) // 2]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--model", default="resnet110")
    parser.add_argument("--n", type=int, help="draws per image; by default one tile, at least 400")
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--tile", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument(
        "--compiled", nargs="*", choices=("fp32", "tf32", "bf16"), help="precisions to compile; bf16 on a GPU"
    )
    parser.add_argument("--bandwidth", type=float, default=4.8, help="of the GPU's memory, TB/s")
    options = parser.parse_args()
    gpu = torch.cuda.is_available()
    # A GPU needs many tiles in flight before its rate says anything.
    options.n = options.n or (max(16 * options.tile, 400) if gpu else max(options.tile, 400))
    options.compiled = options.compiled if options.compiled is not None else ["bf16"] if gpu else []
    device = configure("fp32", options.threads)
    figures: dict[str, Any] = {
        "device": device_name(device),
        "model": options.model,
        "tile": options.tile,
        "threads": options.threads,
        **measure(options, options.threads, time.perf_counter),
    }
    if not gpu:
        figures["one_thread_cpu_time"] = measure(options, 1, time.process_time)
    figures["load"] = round(os.getloadavg()[0], 2)
    if options.json:
        print(json.dumps(figures))
        return
    print(
        f"{options.model} on {figures['device']}, {options.images * options.n} samples in tiles of {options.tile}, "
        f"median of {options.rounds} rounds, load {figures['load']}"
    )
    show(figures)
    if not gpu:
        print("\none thread, CPU time")
        show(figures["one_thread_cpu_time"])


def show(figures: dict[str, Any]) -> None:
    """Rates, then ratios."""
    for name, value in figures["samples_per_second"].items():
        print(f"{name:30} {value:12,.1f} samples/s")
    for name, value in figures.items():
        if name in ("share_of_ceiling", "refused"):
            for of, each in value.items():
                print(f"{name + ' ' + of:30} {each}")
        elif name.startswith(("ratio", "share", "ceiling", "waits")):
            print(f"{name:30} {value:12,}")


if __name__ == "__main__":
    main()
