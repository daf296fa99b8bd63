"""File systems without locks: one process at a time by files that name it. The kernel itself refuses flock here."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import no_locks
import pytest
from chain import Chain, queue_pid, queue_pids, tiny, wait_until

from rsctl.cluster.local.requests import own_queue
from rsctl.config.sections import StageResources
from rsctl.plan.tasks import Request, Task
from rsctl.store.attempts import Claim, here, process_start
from rsctl.store.exclusion import exclusive, has_locks, is_held
from rsctl.store.files import publish

ERRORS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP)


def without_locks(*words: object, error: int = errno.ENOLCK) -> list[str]:
    return [sys.executable, no_locks.__file__, str(error), *map(str, words)]


def python(code: str, *words: object, error: int = errno.ENOLCK) -> list[str]:
    return without_locks(sys.executable, "-c", code, *words, error=error)


@pytest.fixture(autouse=True)
def filters() -> None:
    if subprocess.run(python(""), capture_output=True, check=False).returncode:
        pytest.skip("this kernel lets no process filter its system calls")


HOLD = """
import sys, time, pathlib
from rsctl.store.exclusion import exclusive
with exclusive(pathlib.Path(sys.argv[1]), wait=False) as had:
    print(had, flush=True)
    time.sleep(float(sys.argv[2]))
"""
LOOK = """
import sys, pathlib
from rsctl.store.exclusion import has_locks, is_held
lock = pathlib.Path(sys.argv[1])
print(has_locks(lock.parent), is_held(lock))
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(python(HOLD, tmp_path / "lock", 60), stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "True\n"
    yield process
    process.kill()
    process.wait()


def answer(code: str, *words: object, error: int = errno.ENOLCK) -> str:
    return subprocess.run(
        python(code, *words, error=error), capture_output=True, text=True, check=True
    ).stdout.strip()


def test_a_lock_is_held_by_one_living_process(holder: subprocess.Popen[str], tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    for error in ERRORS:
        assert answer(LOOK, lock, error=error) == "False True"
    assert answer(HOLD, lock, 0) == "False"
    holder.kill()
    holder.wait()
    assert answer(LOOK, lock) == "False False"
    assert answer(HOLD, lock, 0) == "True"
    assert answer(LOOK, lock) == "False False"
    assert len(list(tmp_path.glob("lock.*"))) == 1


def test_a_holder_that_only_has_the_number_of_a_living_process_is_dead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    lock, holder = tmp_path / "lock", tmp_path / "lock.7"
    lock.touch()
    for claim in ({**here(), "start": "1"}, {**here(), "boot": "an earlier one"}, {}, []):
        holder.write_text(json.dumps(claim))
        assert not is_held(lock)
    holder.write_text(json.dumps(here()))
    assert is_held(lock)
    with exclusive(lock, wait=False) as had:
        assert not had
    holder.write_text(json.dumps({**here(), "boot": "another", "host": "another"}))
    assert is_held(lock)
    os.utime(holder, (0, 0))
    assert not is_held(lock)


def test_locks_are_used_where_there_are_any(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with exclusive(lock, wait=False) as had:
        assert had
        assert has_locks(tmp_path)
        assert is_held(lock)
    assert not is_held(lock)
    assert not list(tmp_path.glob("lock.*"))


TURNS = """
import sys, pathlib
from rsctl.store.exclusion import exclusive
folder = pathlib.Path(sys.argv[1])
for _ in range(10):
    with exclusive(folder / "lock", wait=True):
        number = int((folder / "number").read_text())
        (folder / "number").write_text(str(number + 1))
"""


def test_many_processes_take_turns_and_no_turn_is_lost(tmp_path: Path) -> None:
    (tmp_path / "number").write_text("0")
    (tmp_path / "lock.3").write_text(json.dumps({**here(), "start": "of one that was killed"}))
    processes = [subprocess.Popen(python(TURNS, tmp_path)) for _ in range(3)]
    assert [process.wait(60) for process in processes] == [0] * 3
    assert (tmp_path / "number").read_text() == "30"


def test_the_local_queue_runs_and_is_alone(chain: Chain) -> None:
    """Killed and started again, too; `doctor` says what stands in for locks."""
    chain.plan(tiny())
    run, queue = chain.counts_run(), own_queue(chain.store)
    publish(run.task_file(10), b'{"images": [1]}')
    # The queue watches this process, and stays as long as it lives.
    task = subprocess.Popen(["sleep", "100"])
    claim = Claim.take(run, 10, {**here(), "pid": task.pid, "start": process_start(task.pid)})
    queue.add(Request(Task(run, 10), (), StageResources(), "", after=0))

    def start() -> subprocess.Popen[bytes]:
        env = {**os.environ, "RSCTL_STORE": str(chain.store.root)}
        return subprocess.Popen(
            without_locks(sys.executable, "-m", "rsctl.cluster.local.queue"), cwd="/", env=env
        )

    first = start()
    wait_until(lambda: queue_pid(chain.store) and answer(LOOK, queue.lock) == "False True")
    assert start().wait(60) == 0
    assert queue_pids(chain.store) == [first.pid]
    found = subprocess.run(
        without_locks(sys.executable, "-m", "rsctl", "doctor"), capture_output=True, text=True
    )
    assert "not supported by this file system; files with a process id are used instead" in found.stdout
    first.kill()
    first.wait()
    assert answer(LOOK, queue.lock) == "False False"
    second = start()
    wait_until(lambda: answer(LOOK, queue.lock) == "False True")
    claim.end("done", "")
    task.kill()
    task.wait()
    assert second.wait(60) == 0
    assert not queue.wanted()
