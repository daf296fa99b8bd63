"""A store that the nodes can't see: found beforehand where that can be told, else by what is left unsaid."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rsctl.cluster.slurm import shared
from rsctl.cluster.slurm.commands import Partition
from rsctl.cluster.slurm.shared import check_store, file_system
from rsctl.errors import InputError
from rsctl.store.sharing import closed_to_group

if TYPE_CHECKING:
    from sites import Site


def test_a_node_that_cannot_see_the_store_is_named_by_status_and_by_doctor(site: Site) -> None:
    if subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode:
        pytest.skip(
            "this machine lets nobody make a mount of his own (unshare -m), so no node can be made blind"
        )
    site.sweep(certification={"shards": 1})
    site.profile("blind", extra={"nodelist": "cpu3"})
    (site.folder / "runs").mkdir()
    site.cluster.kill_node("cpu3")
    site.cluster.start_blind_node("cpu3", site.folder / "runs")
    try:
        site.cluster.query("scontrol", "update", "nodename=cpu3", "state=resume")
        site.submit("--cluster", "blind")
        assert site.wait() == ["failed", "cancelled"]
        reason = next(iter(site.statuses().values())).reason
        assert "it wrote nothing, not even" in reason
        assert f"does cpu3 see {site.folder / 'runs'}? 'rsctl doctor' tests it" in reason
        found = {
            finding["what"]: finding for finding in json.loads(site.rsctl("doctor", "--json", code=3).stdout)
        }
        assert not found["profile blind"]["ok"]
        assert "can't see" in found["profile blind"]["text"]
    finally:
        site.cluster.kill_node("cpu3")
        site.cluster.start_node("cpu3")
        site.cluster.query("scontrol", "update", "nodename=cpu3", "state=resume")
    # Once the store is shared, retry runs both.
    site.rsctl("retry", "try", fake=True)
    assert site.wait() == ["done"] * 2


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another group")
def test_what_slurm_and_its_tasks_write_is_open_to_the_group_whatever_the_umask(site: Site) -> None:
    site.sweep(certification={"shards": 2})
    site.profile("lab", store_mode="group")
    site.store.root.mkdir()
    os.chown(site.store.root, 0, 60950)
    site.store.root.chmod(0o2770)
    before = os.umask(0o077)
    try:
        site.submit("--cluster", "lab")
        assert site.wait() == ["done"] * 3
        assert closed_to_group(site.store.root) == []
        assert len(list((site.store.root / "submissions").rglob("*log*"))) >= 2
    finally:
        os.umask(before)


def test_a_store_in_memory_is_refused_where_this_machine_is_no_node(monkeypatch: pytest.MonkeyPatch) -> None:
    partition, memory = Partition("cpu", True, True, 60.0, 8, 16.0, 0), Path("/dev/shm/runs")
    mounts = "22 1 0:5 / / rw - ext4 /dev/sda rw\n23 22 0:6 / /dev/shm rw,nosuid - tmpfs none rw\n"
    monkeypatch.setattr(Path, "read_text", lambda _self: mounts)
    monkeypatch.setattr(shared, "run_command", lambda *_words: "node1\nnode2\n")
    monkeypatch.setattr("socket.gethostname", lambda: "login.cluster.example")
    check_store(Path("/home/runs"), partition)
    with pytest.raises(
        InputError,
        match=r"/dev/shm/runs is in the memory of this machine.*no node of partition 'cpu' can access",
    ):
        check_store(memory, partition)
    monkeypatch.setattr("socket.gethostname", lambda: "node2.cluster.example")
    check_store(memory, partition)
    assert file_system(Path("/dev/shm/a/b"), mounts) == "tmpfs"
    assert file_system(Path("/dev/shmoo"), mounts) == "ext4"
