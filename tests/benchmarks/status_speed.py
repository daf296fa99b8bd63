"""How long `rsctl status` takes over 1,000 runs with 1,000,000 sample rows: python tests/benchmarks/status_speed.py [--json]."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from synthetic import make_store


def seconds(command: list[str], environment: dict[str, str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - started


def drop_caches() -> bool:
    """Empty the page cache, so that the next read comes from the disk; needs root."""
    try:
        os.sync()
        Path("/proc/sys/vm/drop_caches").write_text("3")
    except OSError:
        return False
    return True


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--shards", type=int, default=4)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        make_store(Path(folder), options.runs, options.images, options.shards)
        figures: dict[str, float | str] = {"make_store": time.perf_counter() - started}
        environment = {**os.environ, "RSCTL_STORE": folder}
        command = [sys.executable, "-m", "rsctl"]
        figures["help"] = min(seconds([*command, "--help"], environment) for _ in range(3))
        if drop_caches():
            figures["status_cold"] = seconds([*command, "status", "--json"], environment)
        figures["status_warm"] = min(seconds([*command, "status", "--json"], environment) for _ in range(3))
        figures["status_sweep_warm"] = min(
            seconds([*command, "status", "synthetic", "--json"], environment) for _ in range(3)
        )
        figures["export_warm"] = min(
            seconds([*command, "export", "synthetic", "--format", "csv"], environment) for _ in range(2)
        )
        figures["load"] = os.getloadavg()[0]
    if options.json:
        print(json.dumps(figures))
    else:
        print(f"{options.runs} runs, {options.runs * options.images:,} rows")
        for name, value in figures.items():
            print(f"{name:20} {value:8.2f}{'' if name == 'load' else ' s'}")


if __name__ == "__main__":
    main()
