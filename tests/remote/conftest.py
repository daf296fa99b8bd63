"""One sshd for all tests of this folder, and a laptop that reaches it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from chain import Chain

sys.path.insert(0, str(Path(__file__).parent))
from sshd import FarMachine, reason_to_skip


@pytest.fixture(scope="session")
def machine() -> Iterator[FarMachine]:
    """The other machine."""
    if reason := reason_to_skip():
        pytest.skip(reason)
    far = FarMachine()
    try:
        far.start()
        yield far
    finally:
        far.stop()


@pytest.fixture
def far(machine: FarMachine, chain: Chain, monkeypatch: pytest.MonkeyPatch) -> Iterator[FarMachine]:
    """The other machine, as the remote `far` of this test's rsctl.toml; afterwards nothing is left there."""
    runtime = tempfile.mkdtemp(prefix="rsctl-run-", dir="/tmp")
    monkeypatch.setenv("PATH", f"{machine.client}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
    monkeypatch.setenv("XDG_STATE_HOME", str(chain.folder / "state"))
    with open(chain.folder / "rsctl.toml", "a") as file:
        file.write('[remotes.far]\nhost = "cluster"\nstore = "~/results"\nrsctl = "~/rsctl there"\n')
    yield machine
    for socket in Path(runtime, "rsctl").glob("ssh-*"):
        subprocess.run(["ssh", "-S", str(socket), "-O", "exit", "cluster"], capture_output=True)
    machine.clean()
    shutil.rmtree(runtime, ignore_errors=True)
