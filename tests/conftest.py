"""Fixtures that every test may use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from chain import Chain, end_processes

from rsctl.catalog import plugin_packages
from rsctl.cluster.slurm.watch import WATCH
from rsctl.store import records
from rsctl.store.layout import Store


@pytest.fixture(autouse=True)
def _as_in_a_new_process() -> None:
    """Forget what a process remembers of its store, its plugins and the scheduler."""
    records._skipped.clear()
    plugin_packages.load.cache_clear()
    WATCH.__init__()


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
