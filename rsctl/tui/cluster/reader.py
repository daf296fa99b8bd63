"""Collects the data of the cluster mode, on background threads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rsctl.plain import plain
from rsctl.text import duration


class FindingView(NamedTuple):
    """One check of the doctor."""

    ok: bool
    what: str
    text: str


class Profiles(NamedTuple):
    """The profiles in force: name, backend and what is set; and the file that sets them."""

    profiles: list[tuple[str, str, str]]
    file: str


class SlurmReply(NamedTuple):
    """SLURM's reply to a query, as rows of text by pane; or the problem that prevented it."""

    question: str
    panes: dict[str, Sequence[tuple[str, ...]]]
    problem: str


def examine() -> list[FindingView]:
    from rsctl.cluster.doctor import examine as checks
    from rsctl.config.settings import load_settings

    found = checks(load_settings())
    return [FindingView(one.ok, plain(one.what, 60), plain(one.text, 1000)) for one in found]


def profiles() -> Profiles:
    from rsctl.config.settings import load_settings

    place = load_settings()
    found = []
    for name, profile in place.settings.everywhere.items():
        given = profile.model_dump(exclude_unset=True, exclude={"backend"})
        told = ", ".join(f"{key} = {value}" for key, value in given.items()) or "defaults"
        found.append((name, str(profile.backend), plain(told, 500)))
    return Profiles(found, str(place.file) if place.file else "no rsctl.toml: defaults apply")


def hardware() -> SlurmReply:
    """Partitions and nodes, with what is free on them."""
    from rsctl.cluster.slurm.commands import partitions
    from rsctl.cluster.slurm.nodes import Node, nodes
    from rsctl.errors import UserError

    try:
        known, machines = partitions(), nodes()
    except UserError as error:
        return SlurmReply("hardware", {}, plain(str(error), 500))

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
    return SlurmReply(
        "hardware",
        {
            "Partitions": rows,
            "Nodes": [
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
            ],
        },
        "",
    )


def usage() -> SlurmReply:
    """This user's usage from SLURM's accounting."""
    from rsctl.cluster.slurm.nodes import usage as ask
    from rsctl.errors import UserError

    try:
        rows = [
            (plain(one.account, 60), f"{one.jobs:,}", f"{one.cpu_hours:,.1f}", f"{one.gpu_hours:,.1f}")
            for one in ask()
        ]
    except UserError as error:
        return SlurmReply("usage", {}, plain(str(error), 500))
    return SlurmReply("usage", {"Usage": rows}, "")
