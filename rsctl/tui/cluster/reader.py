"""Collects the data of the cluster mode, on background threads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from rsctl.plain import plain
from rsctl.text import duration

if TYPE_CHECKING:
    from rsctl.cluster.doctor import Finding


Panes = dict[str, Sequence[tuple[str, ...]]]
"""SLURM's reply to a query, as rows of text by pane."""


def examine() -> list[Finding]:
    from rsctl.cluster.doctor import examine as checks
    from rsctl.config.settings import load_settings

    found = checks(load_settings())
    return [replace(one, what=plain(one.what, 60), text=plain(one.text, 1000)) for one in found]


def profiles() -> tuple[list[tuple[str, str, str]], str]:
    """The profiles in force: name, backend and what is set; and the file that sets them."""
    from rsctl.config.settings import load_settings

    place = load_settings()
    found = []
    for name, profile in place.settings.everywhere.items():
        given = profile.model_dump(exclude_unset=True, exclude={"backend"})
        told = ", ".join(f"{key} = {value}" for key, value in given.items()) or "defaults"
        found.append((name, str(profile.backend), plain(told, 500)))
    return found, str(place.file) if place.file else "no rsctl.toml: defaults apply"


def hardware() -> Panes:
    """Partitions and nodes, with what is free on them."""
    from rsctl.cluster.slurm.commands import partitions
    from rsctl.cluster.slurm.nodes import Node, nodes

    known, machines = partitions(), nodes()

    def free(of: list[Node]) -> str:
        gpus = sum(node.gpus for node in of)
        return f"{sum(node.free_gpus for node in of)} of {gpus}" if gpus else ""

    rows = []
    for one in known.values():
        own = [node for node in machines if one.name in node.partitions]
        rows.append(
            (
                plain(one.name + (" (default)" if one.default else ""), 60),
                "up" if one.up else "down",
                "none" if one.minutes == float("inf") else duration(60 * one.minutes),
                f"{sum(node.free_cpus for node in own)} of {sum(node.cpus for node in own)}",
                free(own),
                str(one.cpus),
                f"{one.memory_gb:.0f} GB",
                str(one.gpus or ""),
            )
        )
    # Nodes with free GPUs first: users mostly look for those.
    machines.sort(key=lambda node: (-node.free_gpus, -node.gpus))
    listed = [
        (
            plain(node.name, 60),
            plain(node.state, 20),
            free([node]),
            plain(node.gpu, 20),
            f"{node.free_cpus} of {node.cpus}",
            f"{node.free_memory_gb:.0f} of {node.memory_gb:.0f} GB",
            plain(", ".join(node.partitions), 80),
        )
        for node in machines
    ]
    return {"Partitions": rows, "Nodes": listed}


def usage() -> Panes:
    """This user's usage from SLURM's accounting."""
    from rsctl.cluster.slurm.nodes import usage as ask

    return {
        "Usage": [
            (plain(one.account, 60), f"{one.jobs:,}", f"{one.cpu_hours:,.1f}", f"{one.gpu_hours:,.1f}")
            for one in ask()
        ]
    }
