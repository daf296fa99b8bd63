"""Connects the training processes of one SLURM job, or reports why they can't reach each other.

The first process claims the task and writes its address into the claim; the others read it there, connect,
and receive the port of the training itself. An unresolvable address or a closed port is reported within two
minutes; torch alone would wait silently for half an hour.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import subprocess
import time
from typing import Any

from rsctl.cluster.task import scheduled, take_claim
from rsctl.errors import UnavailableError
from rsctl.store.attempts import Claim, latest_attempt
from rsctl.store.layout import Run

_PATIENCE = 120.0
_CONNECT = 5.0


def join(run: Run, number: int) -> dict[str, str]:
    """Wait until all processes of this job have met; returns the environment that torch.distributed reads."""
    rank, world = int(os.environ["SLURM_PROCID"]), int(os.environ["SLURM_NTASKS"])
    nodes = int(os.environ.get("SLURM_JOB_NUM_NODES", "1"))
    if rank == 0:
        attempt, address, port = _lead(run, number, world, nodes)
    else:
        attempt, address, port = _follow(run, number)
    environment = {
        "MASTER_ADDR": address,
        "MASTER_PORT": str(port),
        "RANK": str(rank),
        "WORLD_SIZE": str(world),
        "LOCAL_RANK": os.environ["SLURM_LOCALID"],
        "LOCAL_WORLD_SIZE": str(world // nodes),
        "RSCTL_ATTEMPT": str(attempt),
    }
    if not os.environ.get("CUDA_VISIBLE_DEVICES"):
        environment["ACCELERATE_USE_CPU"] = "true"
    return environment


def _lead(run: Run, number: int, world: int, nodes: int) -> tuple[int, str, int]:
    """Claim the task and accept connections from the other processes."""
    hosts = _own_addresses() if nodes > 1 else ["127.0.0.1"]
    with socket.create_server(("", 0), backlog=world) as server, socket.create_server(("", 0)) as training:
        port, training_port = server.getsockname()[1], training.getsockname()[1]
        claim = take_claim(run, number, run.launch(), rendezvous={"hosts": hosts, "port": port})
        met = {0}
        end = time.monotonic() + _PATIENCE
        while len(met) < world:
            server.settimeout(max(0.1, end - time.monotonic()))
            try:
                connection, _ = server.accept()
            except TimeoutError:
                _give_up(claim, world, met, hosts, port)
            with connection, contextlib.suppress(OSError, ValueError):
                connection.settimeout(_CONNECT)
                met.add(int(connection.recv(64)))
                connection.sendall(json.dumps({"port": training_port}).encode())
    return claim.number, "127.0.0.1" if nodes == 1 else hosts[0], training_port


def _give_up(claim: Claim, world: int, met: set[int], hosts: list[str], port: int) -> None:
    missing = ", ".join(str(rank) for rank in range(world) if rank not in met)
    reason = (
        f"{len(met)} of {world} training processes met within {_PATIENCE:.0f} s; missing: {missing}. "
        f"They should have connected to {' or '.join(hosts)}, port {port}: see the other processes' logs in SLURM's folder of this job."
    )
    claim.end("failed", reason)
    raise UnavailableError(reason)


def _follow(run: Run, number: int) -> tuple[int, str, int]:
    """Find the first process through its claim and connect to it."""
    own = {key: scheduled()[key] for key in ("job", "restart")}
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        attempt = latest_attempt(run, number)
        if attempt and "rendezvous" in attempt.claim and own.items() <= attempt.claim.items():
            return attempt.number, *_connect(attempt.claim["rendezvous"], end)
        time.sleep(0.2)
    raise UnavailableError(
        f"the first training process of job {own['job']} didn't claim its task within {_PATIENCE:.0f} s, "
        f"or its claim below {run.tasks_folder} can't be seen from {socket.gethostname()}. Is the store shared by all nodes?"
    )


def _connect(rendezvous: dict[str, Any], end: float) -> tuple[str, int]:
    failures: dict[str, str] = {}
    while time.monotonic() < end:
        for host in rendezvous["hosts"]:
            try:
                with socket.create_connection((host, rendezvous["port"]), timeout=_CONNECT) as connection:
                    connection.sendall(os.environ["SLURM_PROCID"].encode())
                    return host, int(json.loads(connection.recv(256))["port"])
            except (OSError, ValueError) as error:
                failures[host] = str(error)
        time.sleep(1)
    tried = "; ".join(f"{host}, port {rendezvous['port']}: {words}" for host, words in failures.items())
    raise UnavailableError(
        f"this training process can't reach the first one ({tried}). The nodes must resolve each other's names "
        "and allow connections to each other's ports; ask the cluster's administrators, or train on one node (nodes = 1)."
    )


def _own_addresses() -> list[str]:
    """Return the addresses by which other nodes may reach this one: its name, and the address that SLURM uses."""
    name = os.environ.get("SLURMD_NODENAME") or socket.gethostname()
    shown = subprocess.run(
        ["scontrol", "show", "node", name], capture_output=True, text=True, timeout=60
    ).stdout
    address = re.search(r"NodeAddr=(\S+)", shown)
    hosts = dict.fromkeys([name, address[1] if address else name])
    return [host for host in hosts if _resolves(host)] or [name]


def _resolves(host: str) -> bool:
    try:
        return bool(socket.getaddrinfo(host, None))
    except OSError:
        return False
