"""Tasks that no sweep wants any more and that SLURM still has: seen, also those of an older rsctl, and stopped alone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from sites import Site


def dropped(site: Site) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(site.rsctl("status", "--json").stdout)["dropped"]
    return found


@pytest.mark.long
def test_tasks_in_arrays_that_an_update_drops_are_seen_and_stopped(site: Site) -> None:
    """Held arrays: a training and three certifications of each of two models."""
    site.profile("held", extra={"hold": True})
    site.sweep([0.25, 0.5], certification={"shards": 3})
    site.submit("--cluster", "held")
    site.sweep([0.5], certification={"shards": 3})
    said = site.submit("--cluster", "held", "--update")
    assert "4 open tasks that no sweep needs any more continue" in said
    before = dropped(site)
    assert len(before) == 4
    assert all("s0.25" in task["run"] for task in before)
    assert {task["state"] for task in before} <= {"queued", "waiting"}
    # An older rsctl left no list of a submission's tasks.
    for file in site.folder.glob("runs/submissions/*/tasks.json"):
        file.unlink()
    assert [task["run"] for task in dropped(site)] == [task["run"] for task in before]
    assert site.rsctl("cancel", "--dropped").stdout.count("cancelled: ") == 4
    assert not dropped(site)
    assert set(site.states()) <= {"queued", "waiting"}
    assert len(site.states()) == 4
    # And SLURM has these alone.
    assert [*site.cluster.queue().values()].count("PENDING") == 4
