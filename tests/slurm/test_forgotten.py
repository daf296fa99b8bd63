"""Jobs that left the queue: accounting knows them, or our own notes do, or it is said that nobody does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from sites import Site


def hold(site: Site) -> None:
    site.profile("held", extra={"hold": True})
    site.sweep(certification={"shards": 1})
    site.submit("--cluster", "held")


def forget(site: Site) -> None:
    """Until the controller no longer shows any job."""
    site.cluster.wait_until(lambda: not site.cluster.queue(), "the queue is empty")


def test_a_cancelled_task_stays_cancelled_when_nobody_remembers_its_job(forgetful_site: Site) -> None:
    hold(forgetful_site)
    forgetful_site.rsctl("cancel", "try")
    forget(forgetful_site)
    assert forgetful_site.states() == ["cancelled", "cancelled"]
    assert "cancelled by you" in forgetful_site.explain()


def test_a_task_that_nobody_remembers_is_lost_and_submitted_again(forgetful_site: Site) -> None:
    site = forgetful_site
    hold(site)
    site.cluster.query("scancel", "--state=PENDING", f"--user={site.cluster.user}", check=True)
    forget(site)
    # For a minute after its submission a job that isn't seen may still appear.
    assert site.states() == ["queued", "queued"]
    site.a_minute_passes()
    assert site.states() == ["lost", "lost"]
    assert "before it started" in site.explain()
    assert "2 submitted" in site.submit()
    assert site.wait() == ["done", "done"]


@pytest.mark.long
def test_accounting_remembers_who_cancelled_a_task(accounted_site: Site) -> None:
    site = accounted_site
    hold(site)
    site.cluster.query("scancel", "--state=PENDING", f"--user={site.cluster.user}", check=True)
    forget(site)
    assert site.wait() == ["cancelled", "cancelled"]
    assert "CANCELLED" in site.explain()
    site.rsctl("retry", "try", "--minutes", "7", fake=True)
    limits = site.cluster.query("squeue", "-h", "-o", "%l").split()
    assert limits == ["7:00", "7:00"]


def test_a_job_of_another_cluster_is_unknown_and_is_not_asked_for_here(site: Site) -> None:
    hold(site)
    for file in site.folder.glob("runs/*/*/submissions/*.json"):
        file.write_text(file.read_text().replace('"cluster": "plain"', '"cluster": "faraway"'))
    assert site.states() == ["unknown", "unknown"]
    assert "on the cluster 'faraway'; this machine uses 'plain'" in site.explain()
    assert "2 already under way" in site.submit()
    for file in site.folder.glob("runs/*/*/submissions/*.json"):
        file.unlink()
    assert "2 submitted" in site.submit()
    assert site.wait() == ["done", "done"]
