"""Private SLURM clusters for the tests of this folder, each with a user and a store beside it.

What proves what (all on a real cluster; L: marked long, run with `-m long`):

| claim | proved by |
|---|---|
| a sweep's counts are the local backend's | real_tasks: a_sweep_through_slurm, the_quickstart (L, also with accounting) |
| 200 tasks: one cancelled, one fails by itself, retry completes | arrays: two_hundred_tasks (L), one_task_fails; real_tasks: two_hundred_real_tasks (L) |
| a failed training cancels its own certification; retry runs both | arrays: a_failed_training, students_wait |
| pre-emption: requeued, resumed, byte-identical | real_interruptions: preempted (L); interruptions: a_preempted_task (L) |
| time limits, likewise | real_interruptions: time_limits (L); interruptions: a_time_limit (L), a_warned_task |
| a node pulled, and one cut off whose task lives on | real_interruptions: a_node_that_dies (L); interruptions: a_dead_nodes_task; real_tasks: a_second_living_copy (L) |
| the controller away: said, last state kept, recovered | controller: while_the_controller_is_away; a_whole_minute (L): `--wait` and `status --watch` |
| without accounting, and with it | the fixture `any_site` (with it: L): arrays, interruptions; forgotten; limits, doctor, refusals |
| 5,000 tasks: one queue query per tick | controller: five_thousand_tasks (L), by `sdiag` |
| arrays and sbatch calls | arrays: one_array_of_trainings, tasks_that_come_later; chunks |
| limits of arrays, users, accounts, QOS, the controller | limits, against what sbatch accepts |
| partition, account, GPUs, CPUs, memory, minutes, options: refused as sentences, nothing submitted | refusals |
| a store that nodes can't see | shared_store |
| a refusal halfway is rolled back; a kill around any sbatch call is resumable | refusals: a_refusal_in_the_middle; killed_submitter |
| OUT_OF_MEMORY and TIMEOUT: said, retried with more | exceeded |
| a user's own scancel is not undone; no endless requeues | interruptions |
| edits while it waits, a user's jobs.py | arrays: what_is_edited |
| tasks that an update drops, also of an older rsctl: seen, and stopped alone | unwanted (L) |
| 1 node x 2 processes, 2 nodes x 1; a rendezvous that fails is a sentence | real_tasks: training_in_two_processes; rendezvous |
| what nobody remembers; other clusters; all of SLURM's states | forgotten; controller |
| whatever sbatch prints, the job is ours | wrappers |
| setup that fails; paths with backslashes; a warning before Python listens | batch_scripts (L: on a cluster) |
| memory that nobody gave is asked for, and not where a site refuses it | memory_asked |
| staging; GPUs; logs across requeues; doctor | staging; arrays; interruptions: a_warned_task; doctor |
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from cluster import Cluster, missing_programs
from sites import Site

import rsctl.cluster.slurm.commands as slurm_commands
import rsctl.cluster.slurm.watch as slurm_watch


def _cluster(name: str, **options: Any) -> Callable[..., Iterator[Cluster]]:
    """A session's cluster as the fixture `<name>_cluster`."""

    @pytest.fixture(scope="session", name=f"{name}_cluster")
    def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
        if missing := missing_programs(bool(options.get("accounting"))):
            pytest.skip(
                f"not installed: {', '.join(missing)} (Debian: slurm-wlm munge; with accounting slurmdbd mariadb-server)"
            )
        cluster = Cluster(tmp_path_factory.mktemp("cluster") / "root", name=name, **options)
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.stop()

    return running


def _site(name: str, cluster: str) -> Callable[..., Iterator[Site]]:
    """A user on a cluster as the fixture `name`; afterwards its queue is empty."""

    @pytest.fixture(name=name)
    def entered(
        request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[Site]:
        on: Cluster = request.getfixturevalue(f"{cluster}_cluster")
        for variable, value in on.environment.items():
            monkeypatch.setenv(variable, value)
        for variable in ("RSCTL_STORE", "RSCTL_DATA"):
            monkeypatch.delenv(variable, raising=False)
        monkeypatch.setenv("RSCTL_CONFIG", str(tmp_path / "rsctl.toml"))
        monkeypatch.setattr(slurm_watch.WATCH, "__dict__", slurm_watch.Watch().__dict__)
        slurm_commands.limits.cache_clear()
        yield Site(on, tmp_path)
        on.query("scancel", "--full", f"--user={os.getuid()}")
        on.query("scancel", "--signal=KILL", f"--user={os.getuid()}")
        on.wait_until(lambda: not on.query("squeue", "-h", "-t", "R,CG,PD,S"), "all jobs are gone")

    return entered


plain_cluster = _cluster("plain")
accounted_cluster = _cluster("accounted", accounting=True, remember=2)  # accounting alone remembers
forgetful_cluster = _cluster("forgetful", remember=2)  # nobody knows a job that ended ten seconds ago
strict_cluster = _cluster("strict", memory_kill=True)

site = _site("site", "plain")
accounted_site = _site("accounted_site", "accounted")
forgetful_site = _site("forgetful_site", "forgetful")
strict_site = _site("strict_site", "strict")


@pytest.fixture(params=["site", pytest.param("accounted_site", marks=pytest.mark.long)])
def any_site(request: pytest.FixtureRequest) -> Site:
    """Without accounting, then with it."""
    found: Site = request.getfixturevalue(request.param)
    return found
