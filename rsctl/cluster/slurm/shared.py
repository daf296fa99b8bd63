"""Checks that a store is on a disk that nodes can share, without running a job."""

from __future__ import annotations

import re
import socket
from pathlib import Path

from rsctl.cluster.slurm.commands import Partition, run_command
from rsctl.errors import InputError

_OF_THIS_MACHINE = ("tmpfs", "ramfs")


def check_store(store: Path, partition: Partition) -> None:
    """Raise InputError for a store in this machine's memory, unless this machine is a node of the partition."""
    kind = file_system(store, Path("/proc/self/mountinfo").read_text())
    if kind not in _OF_THIS_MACHINE:
        return
    nodes = run_command("sinfo", "--noheader", f"--partition={partition.name}", "--format=%n").split()
    if socket.gethostname().partition(".")[0] not in {node.partition(".")[0] for node in nodes}:
        raise InputError(
            f"store: {store} is in the memory of this machine ({kind}), which no node of partition "
            f"'{partition.name}' can access. Set store in rsctl.toml to a folder on a file system that all nodes share."
        )


def file_system(path: Path, mounts: str) -> str:
    """Return the type of the file system that a path is on, from the text of `/proc/self/mountinfo`."""
    kinds = {}
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        where = re.sub(r"\\(\d{3})", lambda code: chr(int(code[1], 8)), before.split()[4])
        kinds[Path(where)] = after.split()[0]
    real = path.resolve()
    return next((kinds[folder] for folder in (real, *real.parents) if folder in kinds), "")
