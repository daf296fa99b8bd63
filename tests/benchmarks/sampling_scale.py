"""Cost and memory of sampling over a 100-fold range of images and of draws: python tests/benchmarks/sampling_scale.py [--json].

Each row runs in a process of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time

ROWS = [(4, 1000), (40, 1000), (400, 1000), (4, 10_000), (4, 100_000)]


def measure(images: int, n: int) -> dict[str, float]:
    """Seconds and peak memory of counting so many images with so many draws, small CNN on 8x8 noise."""
    import torch

    from jobs.certify.noisy_inputs import NoisyInputs
    from jobs.certify.sampler import ImageCounts, Sampler
    from jobs.models import build_model
    from jobs.models.load import Executed
    from jobs.precision import configure
    from rsctl.catalog import known_datasets
    from rsctl.catalog.declare import DataShape

    device = configure("fp32", 1)
    model = build_model("cnn", {}, dataset=known_datasets()["digits"], shape=DataShape(1, 8, 10, {})).eval()
    inputs = NoisyInputs(0.5, (0,), n, device)
    sampler = Sampler(Executed(model, "fp32").to(device), 10, inputs, n0=100, tile=400, block=100)
    pixels = torch.rand((images, 1, 8, 8), device=device)
    started = time.perf_counter()
    under_way = (ImageCounts(i, 0, x, torch.zeros(2, 10, dtype=torch.int64)) for i, x in enumerate(pixels))
    finished = sum(image.done for touched in sampler.run(under_way) for image in touched)
    assert finished == images
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "images": images,
        "n": n,
        "seconds": seconds,
        "samples_per_second": sampler.drawn / seconds,
        "peak_mb": peak,
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--row", nargs=2, type=int)
    options = parser.parse_args()
    if options.row:
        print(json.dumps(measure(*options.row)))
        return
    rows = []
    for images, n in ROWS:
        command = [sys.executable, __file__, "--row", str(images), str(n)]
        rows.append(json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
    if options.json:
        print(json.dumps(rows))
        return
    print("images        n   seconds  samples/s   peak MB")
    for row in rows:
        print(
            f"{row['images']:6} {row['n']:8} {row['seconds']:9.2f} {row['samples_per_second']:10.0f} {row['peak_mb']:9.0f}"
        )


if __name__ == "__main__":
    main()
