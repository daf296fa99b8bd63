"""Fixtures that every test may use."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from chain import Chain, end_processes

from rsctl.catalog import plugin_packages
from rsctl.cluster.slurm.watch import WATCH
from rsctl.plan import forward
from rsctl.store import records
from rsctl.store.layout import Store


def pytest_configure() -> None:
    """Ctrl+C arrives in the processes of tests, even where a shell began the tests in its background, which ignores it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _as_in_a_new_process() -> None:
    """Forget what a process remembers of its store, its plugins and the scheduler."""
    records._skipped.clear()
    plugin_packages.load.cache_clear()
    WATCH.__init__()


@cache
def _figures(asked: str) -> Any:
    from jobs.forward import measured

    return measured(json.loads(asked))


@pytest.fixture(autouse=True)
def _networks_measured_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure each network once for all tests, in this process: another one loads torch for seconds."""
    monkeypatch.setattr(forward, "_measure", lambda asked: [_figures(json.dumps(one)) for one in asked])


@pytest.fixture
def chain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Chain]:
    """A store of its own below a temporary folder; afterwards none of its processes is left."""
    (tmp_path / "rsctl.toml").write_text('store = "store"\ndata = "data"\n[profiles.two]\ncpus = 2\n')
    monkeypatch.setenv("RSCTL_CONFIG", str(tmp_path / "rsctl.toml"))
    monkeypatch.delenv("RSCTL_STORE", raising=False)
    monkeypatch.delenv("RSCTL_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    chain = Chain(tmp_path)
    yield chain
    os.chdir("/")
    end_processes(Store(tmp_path / "store"))
