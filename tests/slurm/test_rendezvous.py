"""Training processes that can't meet say so; no cluster is needed."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from chain import tiny

from rsctl.cluster.slurm import processes
from rsctl.cluster.slurm.processes import join
from rsctl.errors import UnavailableError
from rsctl.store.attempts import latest_attempt

if TYPE_CHECKING:
    from chain import Chain

    from rsctl.store.layout import Run


@pytest.fixture
def process(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Run]:
    """Makes this process one of two of a SLURM job on one node; returns the run to train."""
    chain.plan(tiny())
    (run,) = chain.store.runs("models")

    def become(rank: int) -> Run:
        values = {"PROCID": rank, "LOCALID": rank, "NTASKS": 2, "JOB_NUM_NODES": 1, "JOB_ID": 7}
        for name, value in values.items():
            monkeypatch.setenv(f"SLURM_{name}", str(value))
        return run

    return become


def test_two_processes_meet_and_share_one_attempt(
    process: Callable[[int], Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = process(0)
    first: list[dict[str, str]] = []
    leading = threading.Thread(target=lambda: first.append(join(run, 0)))
    leading.start()
    while latest_attempt(run, 0) is None:
        pass
    process(1)
    second = join(run, 0)
    leading.join()
    assert {(v["MASTER_ADDR"], v["MASTER_PORT"], v["RSCTL_ATTEMPT"]) for v in (first[0], second)} == {
        ("127.0.0.1", second["MASTER_PORT"], "1")
    }
    assert (first[0]["RANK"], second["RANK"]) == ("0", "1")


def test_a_process_that_never_comes_is_named_and_ends_the_attempt(
    process: Callable[[int], Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "_PATIENCE", 0.3)
    run = process(0)
    with pytest.raises(UnavailableError, match=r"1 of 2 training processes met .* missing: 1\."):
        join(run, 0)
    attempt = latest_attempt(run, 0)
    assert attempt is not None
    assert attempt.ended == "failed"


def test_an_address_that_cannot_be_reached_is_a_sentence(
    process: Callable[[int], Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = process(1)
    monkeypatch.setattr(processes, "_PATIENCE", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    details = {
        **processes.scheduled(),
        "rendezvous": {"hosts": ["no-such-node.invalid", "127.0.0.1"], "port": port},
    }
    processes.Claim.take(run, 0, details)
    with pytest.raises(UnavailableError, match=r"can't reach the first one .*no-such-node.*ask the cluster"):
        join(run, 0)


def test_a_first_process_that_never_claims_is_a_sentence(
    process: Callable[[int], Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "_PATIENCE", 0.3)
    with pytest.raises(UnavailableError, match="Is the store shared by all nodes"):
        join(process(1), 0)
