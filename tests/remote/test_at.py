"""`rsctl --at NAME COMMAND`: through a real sshd, as another user with another home."""

from __future__ import annotations

import json

from chain import Chain
from sshd import FarMachine


def test_output_errors_and_exit_codes_are_as_if_the_command_ran_here(far: FarMachine, chain: Chain) -> None:
    done = chain.cli("--at", "far", "status", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["store"] == str(far.home / "results")
    assert not done.err
    done = chain.cli("--at=far", "export", "none")
    assert (done.code, done.out) == (2, "")
    assert "no sweep 'none' in" in done.err
