"""The golden store in a folder of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from chain import Chain, end_processes
from packed import unpack

from rsctl.store.layout import Store


@pytest.fixture
def golden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Chain]:
    """A copy that a test may change; afterwards none of its processes is left."""
    unpack(tmp_path)
    monkeypatch.setenv("RSCTL_CONFIG", str(tmp_path / "rsctl.toml"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("RSCTL_STORE", raising=False)
    monkeypatch.delenv("RSCTL_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    yield Chain(tmp_path)
    monkeypatch.chdir("/")
    end_processes(Store(tmp_path / "store"))
