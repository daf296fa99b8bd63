"""What is seen of the scheduler: while it is away, with five thousand tasks, and in an unknown tongue."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rsctl.cluster.all_backends import notices
from rsctl.cluster.slurm import commands
from rsctl.cluster.slurm.commands import JobRow, compress, read_queue
from rsctl.cluster.slurm.failure_reason import explain
from rsctl.cluster.slurm.states import state_of
from rsctl.store.attempts import State
from rsctl.store.layout import Store

if TYPE_CHECKING:
    from sites import Site


def test_while_the_controller_is_away_the_last_state_stands_and_is_said(site: Site) -> None:
    site.sweep()
    site.behave(wait=True)
    site.submit()
    site.wait(lambda states: "running" in states)
    waiting = site.start("submit", "try.toml", "--cluster", "slurm", "--wait")
    waiting.wait_for("1 running")
    site.cluster.stop_controller()
    try:
        site.wait(lambda _: bool(notices()))
        found = list(site.statuses().values())
        assert [s.state.value for s in found] == ["running", "waiting", "waiting"]
        assert "controller doesn't answer" in notices()[0]
        assert "last known: running" in found[0].reason
        refused = site.submit(code=3)
        assert "controller doesn't answer" in refused
    finally:
        site.cluster.start_controller()
    site.wait(lambda _: not notices())
    site.behave()
    assert site.wait() == ["done"] * 3
    assert notices() == []
    said = waiting.ended()
    assert "controller doesn't answer" in said
    assert "100%  3 done" in said


@pytest.mark.long
def test_a_whole_minute_without_the_controller(site: Site) -> None:
    """`submit --wait` and `status --watch` say so, keep the last state, and go on by themselves."""
    site.sweep()
    site.behave(wait=True)
    site.submit()
    site.wait(lambda states: "running" in states)
    waiting = site.start("submit", "try.toml", "--cluster", "slurm", "--wait")
    watching = site.start("status", "try", "--watch")
    try:
        waiting.wait_for("1 running")
        watching.wait_for("1 running")
        site.cluster.stop_controller()
        try:
            time.sleep(60)
        finally:
            site.cluster.start_controller()
        site.behave()
        said = waiting.ended(seconds=400)
        # Its next look comes a minute after the last one that failed, at most.
        watching.wait_for("try                              100%  3 done", seconds=200)
    finally:
        watching.process.kill()
    assert waiting.process.returncode == 0
    assert "controller doesn't answer" in said
    assert "; showing the last state" in said
    # What it counted never changed while the controller was away.
    counted = [line for line in said.splitlines() if "%  " in line]
    assert counted[-1] == "100%  3 done"
    assert not any(state in line for line in counted for state in ("unknown", "lost", "failed"))
    views = watching.said().split("controller doesn't answer")
    assert len(views) > 2
    assert "last known: running" in "".join(views[1:])


@pytest.mark.long
def test_five_thousand_tasks_are_one_query_per_tick(site: Site) -> None:
    site.sweep()
    site.profile("held", extra={"hold": True})
    site.submit("--cluster", "held")
    run = next(site.store.runs("counts"))
    plan = site.store.sweep_folder("try") / "plan.json"
    for number in range(2, 5000):
        publish_fast(run.task_file(number))
    plan.write_text(
        plan.read_text().replace('"tasks": [\n    0,\n    1\n   ]', f'"tasks": {list(range(5000))}')
    )
    from rsctl.cluster.control import backend_of, sweep_tasks
    from rsctl.config.sections import StageResources
    from rsctl.plan.tasks import Request

    run.path.parent.parent.joinpath("models", run.count_spec.model_run, "model.pt").write_bytes(b"a model")
    tasks = [task for task in sweep_tasks(site.store, "try") if task.run.kind == "counts"]
    code = run.launch()["code"]
    requests = [Request(task, (), StageResources(threads=1, gpus=0), code, 0) for task in tasks]
    backend_of(site.place, "held").submit(requests)
    assert len(site.cluster.queue()) >= 5000
    site.statuses()
    before = site.cluster.requests()
    started, looks = time.monotonic(), 0
    while time.monotonic() - started < 5 or looks < 3:
        assert len(site.statuses()) == 5001
        looks += 1
    elapsed = time.monotonic() - started
    asked = site.cluster.requests() - before
    assert asked <= elapsed / 1.0 + 1, f"{asked} queries in {elapsed:.1f} s"
    # The commands themselves, as people leave them open: each process asks once per tick.
    watching, following = site.start("status", "try", "--watch"), site.start("logs", run.id, "7", "--follow")
    try:
        watching.wait_for("5000 queued")
        before, started = site.cluster.requests(), time.monotonic()
        time.sleep(8)
        asked, elapsed = site.cluster.requests() - before, time.monotonic() - started
    finally:
        watching.process.kill()
        following.process.kill()
    assert 2 <= asked <= 2 * (elapsed / 1.0 + 1), f"{asked} queries in {elapsed:.1f} s"


def publish_fast(file: Path) -> None:
    file.write_text('{"images": [0]}')


@pytest.mark.parametrize(
    ("row", "state", "words"),
    [
        (JobRow("PENDING", "Priority"), State.QUEUED, "Priority"),
        (JobRow("PENDING", "Dependency"), State.WAITING, "waits for its model"),
        (JobRow("PENDING", "launch failed requeued held"), State.QUEUED, "launch failed requeued held"),
        (JobRow("CONFIGURING"), State.QUEUED, "CONFIGURING"),
        (JobRow("RUNNING", "", "cpu1"), State.RUNNING, ""),
        (JobRow("COMPLETING", "", "cpu1"), State.RUNNING, "COMPLETING"),
        (JobRow("COMPLETED", ended=time.time() + 3600), State.UNKNOWN, "isn't visible here yet"),
        (JobRow("COMPLETED", ended=1.0), State.LOST, "but there is no result"),
        (JobRow("FAILED", "NonZeroExitCode"), State.FAILED, "(NonZeroExitCode); its log may say why; retry"),
        (JobRow("TIMEOUT", "TimeLimit"), State.FAILED, "--minutes"),
        (JobRow("OUT_OF_MEMORY", "OutOfMemory"), State.FAILED, "--memory-gb"),
        (JobRow("DEADLINE"), State.FAILED, "DEADLINE"),
        (JobRow("CANCELLED", "by 1000"), State.CANCELLED, "by 1000"),
        (JobRow("CANCELLED", "DependencyNeverSatisfied"), State.CANCELLED, "the job of its model failed"),
        (JobRow("NODE_FAIL"), State.LOST, "NODE_FAIL"),
        (JobRow("BOOT_FAIL"), State.LOST, "BOOT_FAIL"),
        (JobRow("PREEMPTED"), State.LOST, "PREEMPTED"),
        (JobRow("REQUEUE_HOLD"), State.QUEUED, "REQUEUE_HOLD"),
        (JobRow("SPECIAL_EXIT"), State.QUEUED, "SPECIAL_EXIT"),
        (JobRow("SUSPENDED"), State.QUEUED, "SUSPENDED"),
        (JobRow("SOMETHING_NEW"), State.UNKNOWN, "SOMETHING_NEW"),
    ],
)  # fmt: skip
def test_every_state_of_slurm_is_one_of_ours_with_its_reason(row: JobRow, state: State, words: str) -> None:
    seen = state_of(row)
    assert seen.state == state
    assert words in seen.reason


def test_what_kept_a_task_from_beginning_is_told(tmp_path: Path) -> None:
    log = tmp_path / "log.out"
    log.write_text(
        "slurmstepd-n1: error: execve(): /no/python: No such file or directory\nsrun: error: n1: task 0: Exited with exit code 2\n"
    )
    seen = state_of(JobRow("FAILED", "NonZeroExitCode"))
    run = Store(tmp_path).run("models", "a")
    told = "SLURM: FAILED (NonZeroExitCode); error: execve(): /no/python: No such file or directory"
    assert explain(seen, run, log, began=False).reason == told
    assert explain(seen, run, log, began=True) == seen


def test_rows_that_cannot_be_read_are_counted_and_a_users_format_does_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    squeue = tmp_path / "squeue"
    squeue.write_text(
        "#!/bin/sh\n"
        'test -z "$SQUEUE_FORMAT" || exit 9\n'
        "echo '12|3|RUNNING|None|cpu1|2026-01-01T00:00:00|rsctl:x'\n"
        "echo 'slurm_load_jobs: a warning among the rows'\n"
        "echo '13|N/A|PENDING|Priority||N/A|(null)'\n"
    )
    squeue.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("SQUEUE_FORMAT", "%i")
    view = read_queue()
    assert view.rows["12_3"].state == "RUNNING"
    assert view.rows["13"] == JobRow("PENDING", "Priority")
    assert view.comments == {"rsctl:x": ["12_3"]}
    assert view.unreadable == 1


def test_array_ranges_are_read_and_written() -> None:
    assert compress(["7_0", "7_1", "7_2", "7_5", "9"]) == ["9", "7_[0-2,5]"]
    assert commands._job_keys("7_[0-2,5%4]") == ["7_0", "7_1", "7_2", "7_5"]
    assert commands._job_keys("7_4") == ["7_4"]
    assert commands._job_keys("7") == ["7"]
    assert commands._job_keys("7.batch") == []
