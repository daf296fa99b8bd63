"""Signals, pre-emption, time limits and dead nodes: requeued, resumed, and never twice the same work for ever."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from sites import attempts

if TYPE_CHECKING:
    from sites import Site

    from rsctl.store.layout import Run


def log(run: Run, task: int = 0) -> str:
    return run.log_file(task).read_text()


def steps(site: Site, index: int) -> float:
    return list(site.statuses().values())[index].done


@pytest.mark.parametrize("name", ["USR2", pytest.param("TERM", marks=pytest.mark.long)])
def test_a_warned_task_writes_a_snapshot_returns_to_the_queue_and_goes_on(site: Site, name: str) -> None:
    site.sweep(certification={"shards": 1})
    site.behave(steps=8, seconds=0.5)
    site.submit()
    site.wait(lambda _: steps(site, 0) >= 3)
    run = next(site.store.runs("models"))
    following = site.start("logs", run.id, "--follow")
    (job,) = site.running()
    site.cluster.query("scancel", f"--signal={name}", job, check=True)
    assert site.wait() == ["done"] * 2
    assert attempts(run) == ["stopped", "done"]
    assert f"signal SIG{name}" in log(run)
    assert "requeued as" in log(run)
    begun = [line for line in log(run).splitlines() if line.startswith("starts at")]
    assert begun[0].startswith("starts at 0 ")
    assert int(begun[1].split()[2]) >= 3
    # Who follows the log sees both attempts, and is let go when the task is done.
    followed = following.ended()
    assert all(line in followed for line in begun)


@pytest.mark.long
def test_a_task_that_is_stopped_without_ever_getting_further_fails_with_a_sentence(site: Site) -> None:
    site.profile("impatient", attempts=2)
    site.sweep(certification={"shards": 1})
    site.behave(wait=True, steps=0)
    site.submit("--cluster", "impatient")
    run = None
    for number in (1, 2):
        site.wait(lambda states: states[0] == "running")
        run = next(site.store.runs("models"))
        site.wait(lambda _: len(attempts(run)) == number and "starts at" in log(run))  # noqa: B023
        time.sleep(0.5)
        site.cluster.query("scancel", "--signal=USR2", site.running()[0], check=True)
    states = site.wait()
    assert states == ["failed", "cancelled"]
    assert "2 times without progress" in next(iter(site.statuses().values())).reason


def test_a_users_own_scancel_is_not_undone(any_site: Site) -> None:
    site = any_site
    site.sweep(certification={"shards": 1})
    site.behave(wait=True)
    site.submit()
    site.wait(lambda states: states[0] == "running")
    run = next(site.store.runs("models"))
    site.wait(lambda _: run.log_file(0).exists() and "starts at" in log(run))
    site.cluster.query("scancel", site.running()[0], check=True)
    assert site.wait() == ["cancelled", "cancelled"]
    assert attempts(run) == ["stopped"]


def test_a_dead_nodes_task_is_requeued_elsewhere(site: Site) -> None:
    site.sweep(certification={"shards": 1})
    site.behave(steps=8, seconds=0.5)
    site.submit()
    run = next(site.store.runs("models"))
    site.wait(lambda _: steps(site, 0) >= 2)
    node = next(iter(site.statuses().values())).node
    assert node.startswith("cpu")
    site.cluster.query("scontrol", "update", f"nodename={node}", "state=down", "reason=test", check=True)
    try:
        assert site.wait() == ["done"] * 2
    finally:
        site.cluster.query("scontrol", "update", f"nodename={node}", "state=resume")
    assert attempts(run)[-1] == "done"
    assert len(attempts(run)) == 2


@pytest.mark.long
def test_a_pulled_node_loses_nothing(site: Site) -> None:
    site.sweep(certification={"shards": 2})
    site.behave(steps=10, seconds=0.5)
    site.submit()
    site.wait(lambda states: states[1] == "running" and states[2] == "running")
    node = list(site.statuses().values())[1].node
    site.cluster.kill_node(node)
    try:
        assert site.wait(seconds=240) == ["done"] * 3
    finally:
        site.cluster.start_node(node)
        site.cluster.query("scontrol", "update", f"nodename={node}", "state=resume")


@pytest.mark.long
def test_a_preempted_task_goes_on_where_it_was(site: Site) -> None:
    site.profile("guest", partition="preempt")
    site.sweep(certification={"shards": 1}, resources={"training": {"threads": 8, "gpus": 0}})
    site.behave(steps=40, seconds=0.5)
    site.submit("--cluster", "guest")
    site.wait(lambda _: steps(site, 0) >= 4)
    node = next(iter(site.statuses().values())).node
    partition = "gpu" if node.startswith("gpu") else "cpu"
    site.cluster.query(
        "sbatch", "-p", partition, "-w", node, "-c", "8", "-o", "/dev/null", "--wrap", "sleep 3", check=True
    )
    assert site.wait(seconds=240) == ["done"] * 2
    run = next(site.store.runs("models"))
    assert attempts(run) == ["stopped", "done"]


@pytest.mark.long
def test_a_time_limit_is_survived_as_often_as_it_takes(site: Site) -> None:
    site.profile("short", minutes=1, warning_seconds=20)
    site.sweep(certification={"shards": 1})
    site.behave(steps=110, seconds=1.0)
    site.submit("--cluster", "short")
    assert site.wait(lambda states: states[0] == "done", seconds=400)
    run = next(site.store.runs("models"))
    found = attempts(run)
    assert len(found) >= 2
    assert found == ["stopped"] * (len(found) - 1) + ["done"]
