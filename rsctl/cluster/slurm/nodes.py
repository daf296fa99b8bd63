"""Free resources of a SLURM cluster, and this user's usage from accounting."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace

from rsctl.cluster.slurm.commands import run_command

_FIELDS = {
    "NodeList": 80, "Partition": 60, "StateLong": 30, "CPUsState": 40, "Memory": 20, "AllocMem": 20, "Gres": 300, "GresUsed": 300,
}  # fmt: skip
"""Columns of fixed width: sinfo has no separators in its long format."""
_USABLE = ("idle", "mixed", "allocated", "completing")
DAYS = 30


@dataclass(frozen=True)
class Node:
    """One node and its free resources; none if it accepts no jobs."""

    name: str
    partitions: tuple[str, ...]
    state: str
    """State as SLURM spells it, such as `mixed` or `drained*`."""
    cpus: int
    free_cpus: int
    memory_gb: float
    free_memory_gb: float
    gpus: int
    free_gpus: int
    gpu: str
    """Type of its GPUs as SLURM names it; empty if it has none or they have no type."""


@dataclass(frozen=True)
class Usage:
    """Usage of one account by this user's jobs in the last `DAYS` days."""

    account: str
    jobs: int
    cpu_hours: float
    gpu_hours: float


def nodes() -> list[Node]:
    """Query all nodes, each once; raises UnavailableError if sinfo doesn't answer."""
    layout = ",".join(f"{name}:{width}" for name, width in _FIELDS.items())
    found: dict[str, Node] = {}
    for line in run_command("sinfo", "--Node", "--exact", "--noheader", f"--Format={layout}").splitlines():
        node = _node(_cut(line))
        if node is not None:
            before = found.get(node.name)
            found[node.name] = (
                replace(before, partitions=(*before.partitions, *node.partitions)) if before else node
            )
    return list(found.values())


def usage() -> list[Usage]:
    """Return the usage by account, highest first; raises UnavailableError without accounting."""
    output = run_command(
        "sacct", "--allocations", "--noheader", "--parsable2", "--format=Account,ElapsedRaw,AllocCPUS,AllocTRES",
        f"--starttime=now-{DAYS}days", "--endtime=now", f"--user={os.getuid()}",
    )  # fmt: skip
    found: dict[str, Usage] = {}
    for line in output.splitlines():
        parts = line.split("|")
        if len(parts) != 4 or not parts[1].isdigit() or not parts[2].isdigit():
            continue
        hours = int(parts[1]) / 3600
        gpus = re.search(r"gres/gpu=(\d+)", parts[3])
        before = found.get(parts[0], Usage(parts[0], 0, 0.0, 0.0))
        found[parts[0]] = replace(
            before,
            jobs=before.jobs + 1,
            cpu_hours=before.cpu_hours + hours * int(parts[2]),
            gpu_hours=before.gpu_hours + hours * (int(gpus[1]) if gpus else 0),
        )
    return sorted(found.values(), key=lambda one: (-one.gpu_hours, -one.cpu_hours))


def _cut(line: str) -> list[str]:
    parts, start = [], 0
    for width in _FIELDS.values():
        parts.append(line[start : start + width].strip())
        start += width
    return parts


def _node(parts: list[str]) -> Node | None:
    name, partition, state, cpus, memory, used_memory, gres, used_gres = parts
    counted = cpus.split("/")
    if not name or len(counted) != 4 or not all(part.isdigit() for part in counted):
        return None
    # "mixed*" doesn't answer; "idle~" sleeps, and a job wakes it.
    usable = state.rstrip("~#") in _USABLE
    gpus, kind = gpus_in(gres)
    total = int(memory) / 1024 if memory.isdigit() else 0.0
    taken = int(used_memory) / 1024 if used_memory.isdigit() else 0.0
    return Node(
        name=name,
        partitions=(partition.rstrip("*"),),
        state=state,
        cpus=int(counted[3]),
        free_cpus=int(counted[1]) if usable else 0,
        memory_gb=total,
        free_memory_gb=max(0.0, total - taken) if usable else 0.0,
        gpus=gpus,
        free_gpus=max(0, gpus - gpus_in(used_gres)[0]) if usable else 0,
        gpu=kind,
    )


def gpus_in(gres: str) -> tuple[int, str]:
    """Parse `gpu:a100:4(S:0-1),gpu:h100:2`: 6 GPUs of `a100+h100`."""
    # Lists of cores or devices: commas in them don't separate resources.
    entries = [entry.split(":") for entry in re.sub(r"\([^)]*\)", "", gres).split(",")]
    gpus = [entry for entry in entries if entry[0] == "gpu" and entry[-1].isdigit()]
    kinds = dict.fromkeys(entry[1] for entry in gpus if len(entry) == 3 and entry[1] != "(null)")
    return sum(int(entry[-1]) for entry in gpus), "+".join(kinds)
