"""Measures the cost of a shard's digest, as a share of writing and of reading it: python tests/benchmarks/digest_cost.py [--json]."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))
from rsctl.certificates import Certified
from rsctl.store.digest import SIZE, check_digest, sealed
from rsctl.store.files import replace
from rsctl.store.shards import Rows, Shard, encode_shard, read_shard


def shard_of(images: int, classes: int) -> Shard:
    random = np.random.default_rng(0)
    counts = random.multinomial(1000, np.full(classes, 1 / classes), images).astype(np.int32)
    rows = Rows(
        index=np.arange(images), label=(np.arange(images) % classes).astype(np.int32), seconds=random.random(images),
        fingerprint=np.zeros(images, np.int32), selection_counts=counts, counts=counts, n=np.full(images, 1000),
    )  # fmt: skip
    return Shard(
        rows,
        {"spec": "{}" * 500, "spec_hash": "0" * 64, "model_sha256": "0" * 64, "dimension": 3072},
        [{"device": "cpu"}],
    )


def seconds(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--times", type=int, default=100)
    options = parser.parse_args()
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for images, classes in ((50, 10), (1000, 10), (500, 1000)):
            shard, file = shard_of(images, classes), Path(folder) / "0000.1.h5"
            radii = {"cohen": Certified(np.zeros(images, np.int64), np.zeros(images), np.zeros(images, bool))}

            def write(shard: Shard = shard, file: Path = file, radii: Any = radii) -> None:
                replace(file, encode_shard(shard, radii, 0.001))

            data = (write(), file.read_bytes())[1]
            works = {
                "write": write,
                "seal": lambda data=data: sealed(data[SIZE:]),
                "read": lambda file=file: read_shard(file),
                "check": lambda data=data: check_digest(data),
            }
            times = {
                name: statistics.median(seconds(work) for _ in range(options.times))
                for name, work in works.items()
            }
            found.append(
                {"images": images, "classes": classes, "bytes": len(data), **{f"{name}_ms": 1e3 * t for name, t in times.items()},
                 "share_of_writing": times["seal"] / times["write"], "share_of_reading": times["check"] / times["read"]}
            )  # fmt: skip
    if options.json:
        print(json.dumps(found))
        return
    print(
        f"{'images':>7} {'classes':>8} {'bytes':>9} {'write':>9} {'digest':>9} {'share':>7} {'read':>9} {'share':>7}"
    )
    for one in found:
        print(
            f"{one['images']:7} {one['classes']:8} {one['bytes']:9} {one['write_ms']:6.2f} ms {one['seal_ms']:6.3f} ms {one['share_of_writing']:7.2%} "
            f"{one['read_ms']:6.2f} ms {one['share_of_reading']:7.2%}"
        )


if __name__ == "__main__":
    main()
