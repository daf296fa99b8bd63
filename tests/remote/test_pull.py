"""`rsctl pull`: results of another machine beside those of this one."""

from __future__ import annotations

import json
import os
import shutil
from typing import Any

import pytest
from chain import Chain, tiny
from sshd import FarMachine

from rsctl.cli.app import run
from rsctl.store.layout import Store
from rsctl.store.pulled import pulled
from rsctl.store.received import received


def move_there(far: FarMachine, chain: Chain) -> None:
    """Make this store that of the other machine."""
    shutil.move(chain.store.root, far.home / "results")
    for path in (far.home / "results", *(far.home / "results").rglob("*")):
        os.chown(path, far.user, -1, follow_symlinks=False)


def text_of(capfd: Any, *words: str) -> str:
    capfd.readouterr()
    assert run(words) == 0
    return str(capfd.readouterr().out)


def test_a_pulled_sweep_has_the_numbers_curves_and_logs_of_the_one_there(
    far: FarMachine, chain: Chain, capfd: Any
) -> None:
    chain.run_all(tiny())
    log = chain.counts_run().log_file(0)
    log.parent.mkdir(exist_ok=True)
    log.write_text(f"a line of the log\n{os.urandom(500_000).hex()}\n")
    run_id = chain.counts_run().id
    here = text_of(capfd, "export", "tiny", "--format", "csv")
    move_there(far, chain)
    assert run(["status", "tiny"]) == 2
    assert text_of(capfd, "pull", "far", "tiny").startswith("tiny: 3 done on far; 2 folders new or changed, ")
    assert text_of(capfd, "export", "tiny", "--format", "csv") == here
    assert "a line of the log" in text_of(capfd, "logs", f"counts/{run_id}")
    assert list(chain.store.root.rglob("metrics*.jsonl"))
    assert not list(chain.store.root.rglob("*.pt"))
    assert "3 done, on far " in text_of(capfd, "status")
    assert json.loads(text_of(capfd, "status", "--json"))["sweeps"][0]["remote"]["remote"] == "far"
    # Only what has changed is sent: another log, and not the large one.
    Store(far.home / "results").run("counts", run_id).log_file(1).write_text("a second log\n")
    again = text_of(capfd, "pull", "far", "tiny", "--watch")
    assert again.startswith("tiny: 3 done on far; 1 folder new or changed, 0.0")
    assert "a second log" in text_of(capfd, "logs", f"counts/{run_id}", "1")
    assert "a line of the log" in text_of(capfd, "logs", f"counts/{run_id}")
    assert run(["cancel", "tiny"]) == 2
    assert "'rsctl --at far cancel tiny' reaches it" in capfd.readouterr().err


STATUS = 'echo \'{"sweeps": [{"states": {"done": 1}, "progress": 1}]}\''
HOSTILE = [
    "echo '{}'", "printf '\\033[31mevil\\033[0m'", "exit 0", "head -c 100000 /dev/urandom", "echo '{\"sweeps\": [{\"states\": {\"../x\": -1}, \"progress\": 7}]}'",
    # A right status, and a package that is none.
    *(f"case $1 in status) {STATUS};; *) {what};; esac"
      for what in ("head -c 100000 /dev/urandom", "exit 0", "echo | gzip", "printf '\\033[31mevil' >&2; exit 2", "tar -cz /etc/hostname 2>/dev/null")),
]  # fmt: skip


def test_a_hostile_other_side_is_refused(far: FarMachine, chain: Chain, capfd: Any) -> None:
    for script in HOSTILE:
        far.put_rsctl(script)
        assert run(["pull", "far", "tiny"]) in (2, 3), script
        out, err = capfd.readouterr()
        assert "rsctl: " in err
        assert "\x1b" not in out
        assert chain.store.sweep_names() == []


@pytest.mark.long
def test_a_pull_that_was_killed_before_its_end_is_repeated(far: FarMachine, chain: Chain, capfd: Any) -> None:
    chain.run_all(tiny())
    move_there(far, chain)
    assert text_of(capfd, "pull", "far", "tiny")
    folder = chain.store.sweep_folder("tiny")
    (folder / "remote.json").unlink()
    assert received(folder)
    assert text_of(capfd, "pull", "far", "tiny").startswith("tiny: ")
    assert (found := pulled(chain.store, "tiny"))
    assert found["remote"] == "far"
