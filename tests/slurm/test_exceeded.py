"""More memory or more time than a task was given: SLURM's own kill, the reason, and a retry with more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from sites import Site


def test_out_of_memory_is_said_and_retry_gives_more(strict_site: Site) -> None:
    """Killed by the sampling of OverMemoryKill, for this machine's nodes have no cgroups of their own."""
    site = strict_site
    site.profile("small", memory_gb=0.3)
    site.sweep(certification={"shards": 1})
    site.behave(megabytes=600, steps=100, seconds=0.2)
    site.submit("--cluster", "small")
    assert site.wait() == ["failed", "cancelled"]
    reason = next(iter(site.statuses().values())).reason
    assert "OUT_OF_MEMORY" in reason
    assert "retry with --memory-gb" in reason
    site.behave(megabytes=600, steps=10, seconds=0.2)
    site.rsctl("retry", "try", "--memory-gb", "2", fake=True)
    assert site.cluster.query("squeue", "-h", "--states=R,PD", "-o", "%m").split() == ["2G", "2G"]
    assert site.wait() == ["done"] * 2


@pytest.mark.long
def test_a_time_limit_without_a_warning_is_said_and_retry_gives_more(site: Site) -> None:
    """A task that heeds no signal, as one in a long step of foreign code."""
    site.profile("short", minutes=1)
    site.sweep(certification={"shards": 1})
    site.behave(wait=True, deaf=True)
    site.submit("--cluster", "short")
    assert site.wait(seconds=240) == ["failed", "cancelled"]
    reason = next(iter(site.statuses().values())).reason
    assert "TIMEOUT" in reason
    assert "retry with --minutes" in reason
    site.behave()
    site.rsctl("retry", "try", "--minutes", "3", fake=True)
    assert site.cluster.query("squeue", "-h", "--states=R,PD", "-o", "%l").split() == ["3:00", "3:00"]
    assert site.wait() == ["done"] * 2
