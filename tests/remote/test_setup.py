"""`rsctl remote setup`: this version of rsctl, installed on another machine by pip."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from chain import Chain, tiny
from sshd import FarMachine, pip_settings

from rsctl import __version__
from rsctl.cli.app import run


def remote(chain: Chain, *lines: str) -> None:
    """A remote `new`, whose rsctl is the one that setup installs."""
    with open(chain.folder / "rsctl.toml", "a") as file:
        file.write("\n".join(['[remotes.new]\nhost = "cluster"', *lines, ""]))


@pytest.mark.long
def test_this_version_is_installed_and_runs_a_sweep(far: FarMachine, chain: Chain, capfd: Any) -> None:
    remote(chain, f'python = "{sys.executable}"', 'store = "~/results"', f"setup = {pip_settings()}")
    assert run(["remote", "check", "new"]) == 3
    assert "'rsctl remote setup new' installs rsctl there" in capfd.readouterr().err
    assert run(["remote", "setup", "new"]) == 0
    assert capfd.readouterr().out == f"new: rsctl {__version__}, store {far.home}/results with 0 sweeps\n"
    made = far.home / ".local/share/rsctl/remote/rsctl"
    assert made.resolve().is_relative_to(far.home)
    before = made.resolve().stat().st_ino
    assert run(["remote", "setup", "new"]) == 0  # nothing is left to do
    assert made.resolve().stat().st_ino == before
    done = chain.cli("--at", "new", "submit", chain.file(tiny()), "--wait", timeout=300)
    assert done.code == 0, done.err
    assert "gaussian" in done.out
    installed = next(
        (far.home / ".local/share/rsctl/remote").glob(
            "environments/*/lib/python*/site-packages/rsctl/remote/at.py"
        )
    )
    assert installed.is_file()


def test_without_python_and_without_internet_it_says_what_to_do(
    far: FarMachine, chain: Chain, capfd: Any
) -> None:
    remote(chain, 'python = "/none/python"')
    assert run(["remote", "setup", "new"]) == 3
    err = capfd.readouterr().err
    assert "/none/python there isn't a Python of 3.10 or newer" in err
    assert "Set remotes.new.python" in err


@pytest.mark.long
def test_without_internet_it_says_what_to_do(far: FarMachine, chain: Chain, capfd: Any) -> None:
    remote(chain, 'setup = ["export PIP_NO_INDEX=1", "export PATH=' + sys.base_prefix + '/bin:$PATH"]')
    assert run(["remote", "setup", "new"]) == 3
    err = capfd.readouterr().err
    assert "Without internet there, set remotes.new.python" in err
    assert not (far.home / ".local/share/rsctl/remote/rsctl").exists()
