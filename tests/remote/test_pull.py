"""`rsctl pull`: results of another machine beside those of this one."""

from __future__ import annotations

from chain import Chain, tiny
from sshd import FarMachine


def test_a_pulled_sweep_is_the_one_there(far: FarMachine, chain: Chain) -> None:
    file = chain.file(tiny())
    done = chain.cli("--at", "far", "submit", file, "--wait", timeout=300)
    assert done.code == 0, done.err
    there = chain.cli("--at", "far", "export", "tiny", "--format", "csv")
    done = chain.cli("pull", "far", "tiny")
    assert done.code == 0, done.err
    print(done.out, done.err)
    here = chain.cli("export", "tiny", "--format", "csv")
    assert here.out == there.out
    done = chain.cli("pull", "far", "tiny")
    print(done.out, done.err)
    print(chain.cli("status"))
    print(chain.cli("status", "tiny"))
    for c in (["cancel", "tiny"], ["retry", "tiny"], ["submit", file]):
        print(chain.cli(*c))
    assert 0
