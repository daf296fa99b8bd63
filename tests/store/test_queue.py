"""The local queue, by real processes: nothing twice, nothing lost, nothing left behind."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from chain import Chain, queue_pid, queue_pids, tiny, wait_until
from PIL import Image

from rsctl.cluster.control import sweep_statuses
from rsctl.cluster.local.processes import gpus_of
from rsctl.cluster.local.queue import deaths_without_progress, start_detached
from rsctl.cluster.local.requests import own_queue
from rsctl.config.sections import StageResources
from rsctl.plan.commit import Request, Task
from rsctl.store.attempts import Attempt, Claim, State, attempt_numbers, here, latest_attempt
from rsctl.store.exclusion import is_held
from rsctl.store.files import publish, replace
from rsctl.store.shards import read_shard
from rsctl.store.tables import data_files, read_table

SLOW = tiny(certification={"n": 400_000, "max_images": 4, "shards": 1})
"""Sampling that goes on for minutes."""


def states(chain: Chain, name: str = "tiny") -> list[State]:
    return [status.state for status in sweep_statuses(chain.place, name).values()]


def background(chain: Chain, *arguments: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "rsctl", *map(str, arguments)], cwd=chain.folder, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def own_model(chain: Chain) -> None:
    """Train the tiny model here, so that a test begins with the sampling."""
    committed = chain.plan(tiny())
    chain.run(committed.requests[0].task)


def test_two_submissions_at_once_and_a_sweep_that_shares_the_model_run_nothing_twice(chain: Chain) -> None:
    file = chain.file(tiny())
    other = chain.file(tiny(name="other", certification={"n": 300, "shards": 1}), "other.toml")
    submitting = [background(chain, "submit", name, "--wait") for name in (file, file, other)]
    for process in submitting:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        assert "20" in out
    assert len(list(chain.store.runs("models"))) == 1
    assert set(chain.attempts().values()) == {1}
    assert len(chain.attempts()) == 4
    again = chain.cli("submit", file, "--json")
    assert json.loads(again.out) == {
        "sweep": "tiny",
        "tasks": 3,
        "done": 3,
        "started": 0,
        "held_back": 0,
        "dropped": 0,
    }
    wait_until(lambda: not chain.queue_pid())
    assert chain.pids() == []


def test_a_failed_training_cancels_its_sampling_and_retry_runs_both(chain: Chain) -> None:
    """A truncated picture: the task names it, and so do status and logs."""
    folder = chain.folder / "data" / "pictures"
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            (folder / split / name).mkdir(parents=True)
            for number in range(4):
                Image.effect_noise((16, 16), 50).convert("RGB").save(folder / split / name / f"{number}.jpg")
    picture = folder / "train" / "dog" / "2.jpg"
    whole = picture.read_bytes()
    picture.write_bytes(whole[: len(whole) // 2] + bytes(len(whole) - len(whole) // 2))
    picture.write_bytes(whole[:200].ljust(len(whole), b"\xff")[: len(whole)])
    changed = tiny(
        dataset={"name": "imagefolder", "path": "pictures", "size": 16}, certification={"max_images": 4, "shards": 1}
    )  # fmt: skip
    done = chain.cli("submit", chain.file(changed), "--wait")
    assert done.code == 1
    assert str(picture) in done.err
    said = json.loads(chain.cli("status", "tiny", "--json").out)["sweeps"][0]
    assert said["states"] == {"failed": 1, "cancelled": 1}
    reasons = [task["reason"] for run in said["runs"] for task in run["tasks"]]
    assert all(str(picture) in reason for reason in reasons), reasons
    assert "its model" in reasons[1]
    model = next(chain.store.runs("models"))
    assert str(picture) in chain.cli("logs", model.id).out
    assert "Traceback" not in model.log_file(0).read_text()
    picture.write_bytes(whole)
    again = chain.cli("retry", "tiny")
    assert len(again.out.splitlines()) == 2
    wait_until(lambda: set(states(chain)) == {State.DONE})
    assert chain.attempts()[f"{model.id}/0"] == 2


def test_cancel_stops_running_tasks_and_submit_goes_on_from_the_snapshot(chain: Chain) -> None:
    own_model(chain)
    chain.cli("submit", chain.file({**SLOW, "name": "slow"}, "slow.toml"))
    (slow,) = (run for run in chain.store.runs("counts") if run.count_spec.n > 1000)
    wait_until(lambda: (attempt := latest_attempt(slow, 0)) and attempt.progress)
    started = time.monotonic()
    done = chain.cli("cancel", "slow")
    assert time.monotonic() - started < 15
    assert slow.id in done.out
    assert chain.pids() == []
    assert states(chain, "slow") == [State.DONE, State.CANCELLED]
    attempt = latest_attempt(slow, 0)
    assert attempt is not None
    assert (attempt.ended, attempt.reason) == ("stopped", "signal SIGTERM")
    (shard,) = data_files(slow)
    before = sum(image.estimation_blocks for image in read_shard(shard).pending)
    assert before > 0
    assert "no task was cancelled" in chain.cli("cancel", "slow").out
    wait_until(lambda: not chain.queue_pid())
    chain.cli("submit", chain.file({**SLOW, "name": "slow"}, "slow.toml"))
    wait_until(lambda: (attempt := latest_attempt(slow, 0)) and attempt.number == 2 and attempt.progress)
    chain.cli("cancel", "slow")
    assert sum(image.estimation_blocks for image in read_shard(data_files(slow)[-1]).pending) >= before


def test_a_killed_queue_leaves_its_tasks_and_the_next_adopts_them(chain: Chain) -> None:
    """Killed the moment it has started a task, before that could claim anything; and again later."""
    # Longer than the next queue takes to start, on a busy machine too.
    file = chain.file(tiny(training={"epochs": 30}, certification={"n": 4000}))
    log = own_queue(chain.store).log
    waiting = background(chain, "submit", file, "--wait")
    wait_until(lambda: log.exists() and "started" in log.read_text(), every=0.002)
    os.kill(chain.queue_pid(), signal.SIGKILL)
    (task,) = chain.pids()
    chain.cli("submit", file)
    wait_until(lambda: f"adopted, pid {task}" in log.read_text())
    os.kill(chain.queue_pid(), signal.SIGKILL)
    wait_until(lambda: not chain.queue_pid())
    assert chain.pids() == [task]
    # `submit --wait` sees that nobody serves the queue, and starts it again.
    _, err = waiting.communicate(timeout=120)
    assert waiting.returncode == 0, err
    assert set(chain.attempts().values()) == {1}


def test_at_most_one_queue_serves_a_store(chain: Chain) -> None:
    own_model(chain)
    chain.cli("submit", chain.file({**SLOW, "name": "slow"}, "slow.toml"))
    store = chain.store.root
    for _ in range(6):
        start_detached(store, "local")
    wait_until(lambda: len(queue_pids(chain.store)) > 1, every=0.01)
    wait_until(lambda: len(queue_pids(chain.store)) == 1)
    log = own_queue(chain.store).log.read_text()
    assert log.count("queue serves") == 1
    assert log.count("started") == 1
    assert is_held(own_queue(chain.store).lock)
    # What it starts in comes first on Python 3.10's path, whatever its environment says.
    assert {os.readlink(f"/proc/{pid}/cwd") for pid in (chain.queue_pid(), *chain.pids())} == {"/"}


def idle_request(chain: Chain, number: int) -> Request:
    """A request that the queue has only to take off its list: the task was done after it was looked at."""
    run = chain.counts_run()
    publish(run.task_file(number), b'{"images": [1]}')
    Claim.take(run, number, here()).end("done", "")
    return Request(Task(run, number), (), StageResources(), "", after=0)


def test_no_wake_up_is_lost_when_a_submission_races_with_a_leaving_queue(chain: Chain) -> None:
    chain.plan(tiny())
    queue, rng = own_queue(chain.store), random.Random(0)
    for number in range(10, 25):
        queue.add(idle_request(chain, number))
        start_detached(chain.store.root, "local")
        # A queue takes about this long to start, to see that all is done, and to leave.
        time.sleep(rng.uniform(0.2, 0.6))
    wait_until(lambda: not queue.wanted(), 20)
    wait_until(lambda: not queue_pid(chain.store), 20)
    assert "Traceback" not in queue.log.read_text()


def test_a_task_that_dies_before_it_can_begin_is_given_up_with_a_reason(
    chain: Chain, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    committed = chain.plan(tiny())
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\n"
        "if 'rsctl.cluster.task' in sys.orig_argv:\n"
        "    print('a broken installation', flush=True)\n    os._exit(1)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    for request in committed.requests:
        own_queue(chain.store).add(request)
    start_detached(chain.store.root, "local")
    wait_until(lambda: not own_queue(chain.store).wanted())
    found = list(sweep_statuses(chain.place, "tiny").values())
    assert [s.state for s in found] == [State.FAILED, State.CANCELLED, State.CANCELLED]
    assert all("exited 3 times before it could begin" in s.reason for s in found)
    log = committed.requests[0].task.run.log_file(0).read_text()
    assert log.count("a broken installation") == 3


def test_files_of_others_in_the_queue_folder_do_no_harm(chain: Chain) -> None:
    chain.plan(tiny())
    queue = own_queue(chain.store)
    for name, content in {
        "notes.txt": b"hello", "x.json": b"{}", "models~a~0.json": b"{", "models~b~0.json": b"[]",
        "models~c~0.json": b'{"task": "models/c/0"}', "counts~..~0.json": b'{"task": "counts/../0"}',
        "models~d~zero.json": b'{"task": "models/d/zero", "needs": [], "threads": 1, "gpus": 0, "code": "", "after": 0, "submitted": 1}',
    }.items():  # fmt: skip
        replace(queue.requests / name, content)
        replace(queue.ended / name, content)
    queue.add(idle_request(chain, 7))
    start_detached(chain.store.root, "local")
    wait_until(lambda: not queue.request_file(f"counts/{chain.counts_run().id}/7").exists())
    wait_until(lambda: not queue_pid(chain.store))
    assert "Traceback" not in queue.log.read_text()
    assert chain.cli("status", "tiny").code == 0


def test_a_request_whose_code_is_gone_is_not_run_with_other_code(chain: Chain) -> None:
    committed = chain.plan(tiny())
    for folder in (chain.store.root / "code").iterdir():
        folder.rename(folder.with_name("moved"))
    own_queue(chain.store).add(committed.requests[0])
    start_detached(chain.store.root, "local")
    wait_until(lambda: not own_queue(chain.store).wanted())
    (first, *_) = sweep_statuses(chain.place, "tiny").values()
    assert first.state == State.FAILED
    assert "its code" in first.reason
    assert chain.attempts() == {}


def test_the_gpus_of_an_adopted_task_stay_taken() -> None:
    process = subprocess.Popen(["sleep", "60"], env={**os.environ, "CUDA_VISIBLE_DEVICES": "1,3"})
    try:
        wait_until(lambda: gpus_of(process.pid) == [1, 3], 10)
    finally:
        process.kill()
        process.wait()


def attempt(done: float) -> Attempt:
    return Attempt(1, {}, {"done": done} if done else {}, {})


@pytest.mark.parametrize(
    ("progress", "deaths"), [([], 0), ([0], 1), ([0, 0, 0], 3), ([0, 5, 9], 1), ([0, 5, 5, 3], 3)]
)
def test_only_deaths_without_progress_count(progress: list[float], deaths: int) -> None:
    assert deaths_without_progress([attempt(done) for done in progress]) == deaths


def test_a_model_that_another_host_trains_is_waited_for(chain: Chain) -> None:
    """Its request lies in that host's queue: the sampling here is no orphan."""
    from dataclasses import replace as changed

    from rsctl.cluster.local.queue import QueueProcess
    from rsctl.config.settings import LocalProfile

    committed = chain.plan(tiny())
    mine = own_queue(chain.store)
    theirs = changed(mine, host="elsewhere")
    theirs.add(committed.requests[0])
    mine.add(committed.requests[1])
    assert QueueProcess(mine, LocalProfile()).tick()
    assert list(mine.wanted()) == [committed.requests[1].task.key]
    theirs.end(committed.requests[0].task.key, State.CANCELLED, "cancelled there")
    assert not QueueProcess(mine, LocalProfile()).tick()
    assert "will not be trained" in mine.endings()[committed.requests[1].task.key]["reason"]


@pytest.mark.long
def test_two_live_copies_of_a_task_end_with_one_result_and_the_older_stops(chain: Chain) -> None:
    own_model(chain)
    values = tiny(name="copies", certification={"n": 150_000, "max_images": 6, "shards": 1})
    task = chain.plan(values).requests[0].task
    command = [sys.executable, "-m", "rsctl.cluster.task", str(task.run.path), "0"]
    older = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    wait_until(lambda: (found := latest_attempt(task.run, 0)) and found.progress)
    newer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert newer.wait(120) == 0
    assert older.wait(120) == 0
    found = [found for number in attempt_numbers(task.run)[0] for found in [latest(task, number)]]
    assert [one.ended for one in found] == ["stopped", "done"]
    assert found[0].reason == "superseded by a later attempt"
    table = read_table(task.run)
    assert sorted(table.rows.index) == sorted(task.run.images(0))
    again = chain.plan({**values, "certification": {**values["certification"], "shards": 3}}, update=True)
    assert again.requests == []


def latest(task: Task, number: int) -> Attempt:
    from rsctl.store.attempts import read_attempt

    return read_attempt(task.run, task.number, number)
