"""How many jobs a user may have: the limits are read beforehand, and what has no room comes later."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from rsctl.cluster.slurm.commands import JobRow, QueueView, limits, partitions, read_queue
from rsctl.cluster.slurm.limits import room_for
from rsctl.config.settings import SlurmProfile

if TYPE_CHECKING:
    from cluster import Cluster
    from sites import Site

Manage = Callable[[str], None]


@pytest.fixture
def manage(accounted_site: Site) -> Iterator[Manage]:
    """Changes limits as an administrator does; afterwards there are none."""
    cluster: Cluster = accounted_site.cluster

    def change(words: str) -> None:
        cluster.query("sacctmgr", "-i", *words.split(), check=True)

    yield change
    change(f"modify user {cluster.user} set MaxSubmitJobs=-1 GrpSubmitJobs=-1 qos=normal defaultqos=normal")
    change("modify account lab set GrpSubmitJobs=-1")
    cluster.query("sacctmgr", "-i", "delete", "qos", "quick", "wide")
    cluster.query("scontrol", "update", "partitionname=short", "qos=N/A")


def room(profile: SlurmProfile) -> tuple[float, str]:
    known = partitions()
    found = room_for(profile, known[profile.partition or "cpu"], limits(), read_queue())
    return found.jobs, found.why


def accepted(site: Site, profile: SlurmProfile, tasks: int) -> bool:
    """Whether SLURM itself takes an array of so many tasks; it is taken away again."""
    options = [f"--{key}={value}" for key in ("partition", "qos") if (value := getattr(profile, key))]
    said = site.cluster.query(
        "sbatch", "--parsable", "--hold", *options, f"--array=0-{tasks - 1}", "-o", "/dev/null", "--wrap", "true"
    )  # fmt: skip
    if said:
        site.cluster.query("scancel", said)
    return bool(said)


MAY_QUICK = "modify user {user} set qos=normal,quick"
MAY_BOTH = "modify user {user} set qos=normal,quick,wide"


@pytest.mark.parametrize(
    ("changes", "profile", "most", "name"),
    [
        ([], {}, float("inf"), ""),
        (["modify user {user} set MaxSubmitJobs=9"], {}, 9, "(MaxSubmitJobs)"),
        (["modify user {user} set MaxSubmitJobs=9", "modify account lab set GrpSubmitJobs=7"], {}, 7, "account lab"),
        (["add qos quick MaxSubmitJobsPU=8", MAY_QUICK], {"qos": "quick"}, 8, "MaxSubmitJobsPU of QOS quick"),
        (["add qos quick MaxSubmitJobsPU=8", MAY_QUICK], {}, float("inf"), ""),
        (["add qos quick MaxSubmitJobsPU=8", MAY_QUICK, "modify user {user} set defaultqos=quick"], {}, 8, "QOS quick"),
        # A QOS overrides the association, also upwards.
        (["add qos quick MaxSubmitJobsPA=11 GrpSubmitJobs=13", MAY_QUICK, "modify user {user} set MaxSubmitJobs=9 GrpSubmitJobs=5"],
         {"qos": "quick"}, 11, "MaxSubmitJobsPA of QOS quick"),
        # A partition's QOS overrides the job's, unless that one says otherwise.
        (["add qos quick MaxSubmitJobsPU=8", "add qos wide MaxSubmitJobsPU=12", MAY_BOTH, "partition"],
         {"qos": "quick", "partition": "short"}, 12, "QOS wide"),
        (["add qos quick MaxSubmitJobsPU=8 Flags=OverPartQOS", "add qos wide MaxSubmitJobsPU=12", MAY_BOTH, "partition"],
         {"qos": "quick", "partition": "short"}, 8, "QOS quick"),
    ],
)  # fmt: skip
def test_the_room_is_what_slurm_itself_accepts(
    accounted_site: Site, manage: Manage, changes: list[str], profile: dict[str, Any], most: float, name: str
) -> None:
    cluster = accounted_site.cluster
    for change in changes:
        if change.startswith("partition"):
            cluster.wait_until(
                lambda: "QOS=wide" in cluster.query("scontrol", "show", "assoc_mgr", "flags=qos"), "the QOS is known"
            )  # fmt: skip
            cluster.query("scontrol", "update", "partitionname=short", "qos=wide", check=True)
        else:
            manage(change.format(user=cluster.user))
    chosen = SlurmProfile(**profile)
    if most == float("inf"):
        assert room(chosen)[0] > 1000
        return
    cluster.wait_until(lambda: room(chosen)[0] == most, f"room for {most}: {room(chosen)}", seconds=10)
    assert name in room(chosen)[1]
    assert accepted(accounted_site, chosen, int(most))
    assert not accepted(accounted_site, chosen, int(most) + 1)
    # What is in the queue counts.
    held = [f"--{key}={value}" for key, value in profile.items()]
    cluster.query("sbatch", "--hold", *held, "--array=0-2", "-o", "/dev/null", "--wrap", "true", check=True)
    assert room(chosen)[0] == most - 3


def test_the_jobs_that_the_controller_keeps_count() -> None:
    view = QueueView({f"7_{number}": JobRow("COMPLETED") for number in range(30)}, {})
    known = limits_of_a_cluster()
    assert room_for(SlurmProfile(), partition(), known, view).jobs == 9
    full = room_for(SlurmProfile(), partition(), replace(known, max_job_count=20), view)
    assert full.jobs == 0
    assert "MaxJobCount" in full.why


def limits_of_a_cluster() -> Any:
    from rsctl.cluster.slurm.commands import Limits

    return Limits("c", "22.05", 1001, max_job_count=40, accounting=False, limits_enforced=False)


def partition() -> Any:
    from rsctl.cluster.slurm.commands import Partition

    return Partition("cpu", True, True, 60.0, 8, 16.0, 0)


@pytest.mark.long
def test_what_has_no_room_is_said_and_comes_later(accounted_site: Site, manage: Manage) -> None:
    site = accounted_site
    manage(f"modify user {site.cluster.user} set MaxSubmitJobs=4")
    site.sweep(certification={"shards": 8, "max_images": 8})
    site.profile("held", extra={"hold": True})
    said = site.submit("--cluster", "held")
    assert "4 submitted" in said
    assert "already under way" not in said
    assert "5 tasks were held back: user root of account lab may have 4 jobs in the queue" in said
    assert site.states() == ["queued"] * 4 + ["new"] * 5
    # Full: nothing is tried, and it is nobody's fault.
    assert "Nothing was submitted" in site.submit("--cluster", "held", code=3)
    site.rsctl("cancel", "try")
    site.cluster.wait_until(lambda: not site.waiting_jobs(), "the queue is empty")
    # retry says the same, and who waits need not come back.
    retried = site.rsctl("retry", "try", fake=True)
    assert retried.stdout.count("restarted") == 4
    assert "5 tasks were held back" in retried.stderr
    site.rsctl("cancel", "try")
    waited = site.rsctl("submit", "try.toml", "--cluster", "slurm", "--wait", fake=True)
    assert "100%  9 done" in waited.stderr


@pytest.mark.long
def test_a_failed_model_is_not_waited_for_by_what_was_held_back(accounted_site: Site, manage: Manage) -> None:
    site = accounted_site
    manage(f"modify user {site.cluster.user} set MaxSubmitJobs=2")
    site.sweep(certification={"shards": 3})
    site.behave(train_fails=[0.5])
    site.rsctl("submit", "try.toml", "--cluster", "slurm", "--wait", fake=True, code=1)
    assert site.states() == ["failed", "cancelled", "new", "new"]
