"""Seconds that `rsctl data check` takes for a folder: first, when nothing has changed, and when one file has.

`python tests/benchmarks/data_check.py FOLDER`, of `train/<class>/*` and `test/<class>/*`. Measured for the 60,000 JPEG files of CIFAR-10
(32x32) on 2 cores that others kept busy: 8.3 s to 37 s first (limit 60), 6 s to 11 s of them on the processor; 1.2 s to 1.8 s when
nothing has changed, 0.6 s to 0.7 s of them on the processor (limit 0.7, on idle cores).
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def timed(folder: Path, cache: str) -> tuple[float, float, dict[str, object]]:
    """Seconds by the clock and on the processor, and what the command says."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "rsctl", "data", "check", str(folder), "--json"],
        env={**os.environ, "XDG_CACHE_HOME": cache}, capture_output=True, text=True,
    )  # fmt: skip
    seconds = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    (found,) = json.loads(done.stdout)
    return seconds, processor, found


def main(folder: Path) -> None:
    """Print a line for each of the three."""
    with tempfile.TemporaryDirectory() as cache:
        for what in ("first", "nothing has changed", "one file has changed"):
            if what.startswith("one"):
                os.utime(next((folder / "train").rglob("*.*")))
            seconds, processor, found = timed(folder, cache)
            print(
                f"{what:22} {seconds:6.2f} s, {processor:6.2f} s on the processor; "
                f"{found['files']} files, {found['opened']} opened"
            )


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute())
