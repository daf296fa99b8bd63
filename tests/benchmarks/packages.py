"""Seconds and megabytes of packages: packing, verifying and unpacking a synthetic sweep of many runs.

python tests/benchmarks/packages.py [--runs 50] [--images 10000] [--json]
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from synthetic import make_store

from rsctl.package.unpacking import unpack
from rsctl.package.verifying import verify
from rsctl.package.writing import pack
from rsctl.store.layout import Store


def measured(folder: Path, runs: int, images: int) -> dict[str, Any]:
    """Seconds of wall time and of this process, and the size of the package."""
    store = Store(make_store(folder / "store", runs, images, 4).store)
    file, found = folder / "synthetic.rsctl", dict[str, Any]()

    def timed(name: str, work: Any) -> Any:
        wall, cpu = time.perf_counter(), time.process_time()
        result = work()
        found[name] = round(time.perf_counter() - wall, 2)
        found[f"{name}_cpu"] = round(time.process_time() - cpu, 2)
        return result

    timed("pack", lambda: pack(store, "synthetic", file))
    found["megabytes"] = round(file.stat().st_size / 1e6, 2)
    found["verified"] = timed("verify", lambda: verify(file)).verified
    timed("unpack", lambda: unpack(file, Store(folder / "other")))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measured(Path(folder), given.runs, given.images)
    print(
        json.dumps(found) if given.json else "\n".join(f"{name:12} {value}" for name, value in found.items())
    )


if __name__ == "__main__":
    main()
