"""Memory that the images of a task may take."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from rsctl.catalog.held import HELD_MOST, HELD_SHARE

PROCESS, SYSTEM = Path("/proc/self/cgroup"), Path("/proc/meminfo")
CGROUPS = Path("/sys/fs/cgroup")


def too_large(size: int) -> str:
    """Reason not to hold so many bytes of images, or empty; each process of a training holds its own."""
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    most = min([HELD_MOST, *(limit * HELD_SHARE / processes for limit in _limits())])
    return f"{size / 2**30:.1f} GB, of which {most / 2**30:.1f} GB would be held" if size > most else ""


def _limits() -> Iterator[float]:
    """Bytes by what the scheduler gave, by the control groups this process is in, and by what the machine has left."""
    per_node, per_cpu = (int(os.environ.get(f"SLURM_MEM_PER_{what}") or 0) for what in ("NODE", "CPU"))
    if given := per_node or per_cpu * int(os.environ.get("SLURM_CPUS_ON_NODE", "1")):  # 0: the whole node
        yield float(given) * 2**20
    for line in PROCESS.read_text().splitlines() if PROCESS.is_file() else ():
        _, controllers, group = line.split(":", 2)
        if controllers in ("", "memory"):
            base = CGROUPS / controllers
            file = "memory.limit_in_bytes" if controllers else "memory.max"
            for folder in (base / group.lstrip("/"), *(base / group.lstrip("/")).parents):
                if folder.is_relative_to(base) and (folder / file).is_file():
                    text = (folder / file).read_text().strip()
                    if text.isdigit():
                        yield float(text)
    if SYSTEM.is_file() and (left := re.search(r"^MemAvailable:\s+(\d+) kB", SYSTEM.read_text(), re.M)):
        yield float(left[1]) * 1024
