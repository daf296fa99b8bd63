"""A connection that dies at random moments: nothing is done twice, nothing is lost."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from chain import Chain, tiny
from sshd import FarMachine, pip_settings

from rsctl.store.attempts import attempt_numbers
from rsctl.store.layout import Store

pytestmark = pytest.mark.long
SEED = 20261201


def run_and_kill(
    far: FarMachine, chain: Chain, words: Sequence[str | Path], seconds: float, dice: random.Random
) -> str:
    """Start a command, and after so many seconds kill the server's end, the client's, or the whole command."""
    process = subprocess.Popen(
        [sys.executable, "-m", "rsctl", *map(str, words)], cwd=chain.folder, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    time.sleep(seconds)
    what = dice.choice(["server", "server", "client", "command"])
    if what == "server":
        far.kill(*far.sessions())
    elif what == "client":
        far.kill(*_clients(Path(os.environ["XDG_RUNTIME_DIR"])))
    else:
        process.send_signal(signal.SIGKILL)
    err = process.communicate(timeout=300)[1]
    assert "Traceback" not in err, err
    assert process.returncode in (0, 3, -9), err
    return f"{what} {process.returncode}"


def _clients(runtime: Path) -> list[int]:
    """Every ssh that uses this folder's sockets."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            line = Path(f"/proc/{name}/cmdline").read_bytes()
        except OSError:
            continue
        if line.startswith(b"ssh") or b"/ssh\0" in line[:30]:
            found += [int(name)] if str(runtime).encode() in line else []
    return found


def finished(chain: Chain, words: Sequence[str | Path]) -> None:
    done = chain.cli(*words, timeout=500)
    assert done.code == 0, done.err


def duration(chain: Chain, words: Sequence[str | Path]) -> float:
    begun = time.monotonic()
    finished(chain, words)
    return time.monotonic() - begun


def test_submissions(far: FarMachine, chain: Chain) -> None:
    dice, outcomes = random.Random(SEED), []
    usual = duration(chain, ["--at", "far", "submit", chain.file(tiny(name="first"), "first.toml")])
    for number in range(8):
        file = chain.file(tiny(name=f"sweep{number}", seed=number + 1), f"{number}.toml")
        words = ["--at", "far", "submit", file]
        outcomes.append(run_and_kill(far, chain, words, dice.uniform(0, 1.2 * usual), dice))
        finished(chain, words)
    print(outcomes)
    for number in range(8):
        finished(chain, ["--at", "far", "submit", chain.folder / f"{number}.toml", "--wait"])
    store = Store(far.home / "results")
    runs = [run for kind in ("models", "counts") for run in store.runs(kind)]
    assert len(runs) == 18
    attempts = {
        f"{run.id}/{task}": len(numbers) for run in runs for task, numbers in attempt_numbers(run).items()
    }
    assert len(attempts) == 27
    assert set(attempts.values()) == {1}


def test_pulls(far: FarMachine, chain: Chain) -> None:
    dice, outcomes = random.Random(SEED + 1), []
    chain.run_all(tiny())
    table = chain.cli("export", "tiny", "--format", "csv").out
    shutil.move(chain.store.root, far.home / "results")
    subprocess.run(["chown", "-R", str(far.user), str(far.home / "results")], check=True)
    usual = duration(chain, ["pull", "far", "tiny"])
    for _ in range(8):
        shutil.rmtree(chain.store.root)
        outcomes.append(run_and_kill(far, chain, ["pull", "far", "tiny"], dice.uniform(0, 1.2 * usual), dice))
        finished(chain, ["pull", "far", "tiny"])
        assert chain.cli("export", "tiny", "--format", "csv").out == table
        assert len(list((chain.store.root / "counts").iterdir())) == 1
    print(outcomes)


def test_setups(far: FarMachine, chain: Chain) -> None:
    dice, outcomes = random.Random(SEED + 2), []
    with open(chain.folder / "rsctl.toml", "a") as file:
        file.write(
            f'[remotes.new]\nhost = "cluster"\npython = "{sys.executable}"\nsetup = {pip_settings()}\n'
        )
    for _ in range(6):
        outcomes.append(run_and_kill(far, chain, ["remote", "setup", "new"], dice.uniform(0, 8), dice))
    finished(chain, ["remote", "setup", "new"])
    finished(chain, ["remote", "check", "new"])
    print(outcomes)
    base = far.home / ".local/share/rsctl/remote"
    assert len(list((base / "environments").iterdir())) == 1
    assert [path.name for path in base.iterdir() if path.name.startswith("rsctl.")] == []
    assert len(list((base / "files").iterdir())) == 1
