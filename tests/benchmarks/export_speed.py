"""How long `rsctl export` takes, and how much memory, for many runs: prints a table, with --json one document.

    python tests/benchmarks/export_speed.py [--runs 300] [--rows 1000000] [--format csv] [--cascade] [--json]

The store is made beforehand (synthetic counts, compacted as finished runs are); each format is then exported
by a process of its own, whose wall time and peak memory are what is reported, start of Python included.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from rsctl.config.settings import load_settings
from rsctl.config.sweep import build_sweep
from rsctl.plan.commit import commit
from rsctl.plan.plan import make_plan
from rsctl.report.tables.formats import FORMATS
from rsctl.store.files import replace
from rsctl.store.layout import Run, Store
from rsctl.store.shards import Rows, Shard, encode_shard

SIGMAS = [0.12, 0.25, 0.5, 0.75, 1.0]
CLASSES = 10
N0, N = 100, 100_000


def make_store(root: Path, runs: int, rows: int, *, cascade: bool = False) -> None:
    """A sweep `speed` of `runs` finished runs with `rows` images in all; with `cascade` each seed has one of three levels."""
    seeds = -(-runs // len(SIGMAS))
    raw: dict[str, object] = {
        "name": "speed", "dataset": "cifar10", "model": "resnet110", "method": "gaussian",
        "grid": {"sigma": SIGMAS, "seed": list(range(seeds))},
        "certification": {"n0": N0, "n": N, "certificates": ["cohen"], "max_images": -(-rows // (seeds * len(SIGMAS)))},
    }  # fmt: skip
    if cascade:
        raw["cascade"] = {"levels": [0.25, 0.5, 1.0], "tau": 0.9}
    os.environ["RSCTL_STORE"] = str(root)
    place = load_settings()
    plan = make_plan(build_sweep(raw, "speed", place.data), "speed")
    commit(plan, place, update=False)
    for number, counts in enumerate(plan.tables.values()):
        run = Store(root).run("counts", counts.spec.run_id)
        replace(run.path / "counts.h5", _file(run, sorted(counts.images), number))


def _file(run: Run, images: list[int], seed: int) -> bytes:
    rng = np.random.default_rng(seed)
    size = len(images)
    label = np.array(images) * 7 // 3 % CLASSES  # the same in every run
    top = np.where(rng.random(size) < 0.75, label, (label + 1) % CLASSES)
    p = rng.beta(3, 0.6, size)
    counts = np.zeros((size, CLASSES), np.int32)
    hits = rng.binomial(N, p)
    counts[np.arange(size), top] = hits
    counts[np.arange(size), (top + 3) % CLASSES] += (N - hits).astype(np.int32)
    selection = np.zeros_like(counts)
    selection[np.arange(size), top] = N0
    rows = Rows(
        index=np.array(images), label=label.astype(np.int32), selection_counts=selection, counts=counts,
        n=np.full(size, N), seconds=np.full(size, 1.0), fingerprint=np.zeros(size, np.int32),
    )  # fmt: skip
    attributes = {"spec_hash": run.spec.hash, "model_sha256": run.spec.hash, "dimension": 3072}
    return encode_shard(Shard(rows, attributes, [{"device": "synthetic"}]), {}, 0.001)


def measure(root: Path, form: str) -> dict[str, object]:
    """Wall seconds and peak megabytes of one export."""
    before = time.monotonic()
    child = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "rsctl",
            "export",
            "speed",
            "--format",
            form,
            "-o",
            str(root / f"table.{form}"),
        ],
        env={**os.environ, "RSCTL_STORE": str(root)},
    )
    _, status, used = os.wait4(child.pid, 0)
    seconds = time.monotonic() - before
    if status:
        raise SystemExit(f"the export failed with status {status}")
    scale = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes there, in KiB here
    return {"format": form, "seconds": round(seconds, 2), "cpu_seconds": round(used.ru_utime + used.ru_stime, 2),
            "megabytes": round(used.ru_maxrss * scale / 1e6)}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--format", choices=FORMATS, action="append")
    parser.add_argument("--cascade", action="store_true", help="with a cascade of three levels per seed")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make_store(root, options.runs, options.rows, cascade=options.cascade)
        found = [measure(root, form) for form in options.format or FORMATS]
    if options.json:
        print(json.dumps({"runs": options.runs, "rows": options.rows, "exports": found}))
        return
    print(f"{options.rows} rows in {options.runs} runs\nformat  seconds  CPU s  MB")
    for one in found:
        print(f"{one['format']:6}  {one['seconds']:7.2f}  {one['cpu_seconds']:5.2f}  {one['megabytes']}")


if __name__ == "__main__":
    main()
