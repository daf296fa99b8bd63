"""What `rsctl doctor` finds on a cluster."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sites import Site


def test_doctor_tries_every_profile_on_a_node(accounted_site: Site) -> None:
    site = accounted_site
    site.profile("nowhere", partition="cpuu")
    site.profile("bare", python="/usr/bin/false")
    site.profile("vast", memory_gb=4000)
    site.profile("typo", extra={"mail-typo": "END"})
    site.profile("unloaded", setup=["if true; then", "module-of-no-cluster load cuda", "fi", "echo fine"])
    done = site.rsctl("doctor", "--json", code=3)
    found = {finding["what"]: finding for finding in json.loads(done.stdout)}
    assert "with accounting" in found["slurm"]["text"]
    assert "arrays up to 1001" in found["slurm"]["text"]
    assert "cpu*" in found["slurm partitions"]["text"]
    assert found["profile slurm"]["ok"], found["profile slurm"]
    assert "reads and writes the store and has the packages" in found["profile slurm"]["text"]
    assert found["profile slurm, room"]["ok"]
    assert "jobs of all users (MaxJobCount)" in found["profile slurm, room"]["text"]
    assert not found["profile nowhere"]["ok"]
    assert "unknown partition" in found["profile nowhere"]["text"]
    assert not found["profile bare"]["ok"]
    assert "Check profiles.vast" in found["profile vast"]["text"]
    assert "unrecognized option '--mail-typo=END'" in found["profile typo"]["text"]
    assert (
        "setup: 'module-of-no-cluster load cuda' (exit code 127) fails on"
        in found["profile unloaded"]["text"]
    )
    assert not any(found[f"profile {name}"]["ok"] for name in ("vast", "typo", "unloaded"))
    assert not list((site.folder / "runs").glob("doctor-*"))
