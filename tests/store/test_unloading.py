"""A task that is done, and a signal that comes while Python unloads."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

ENDING = """
import sys, time
from rsctl.cluster.slurm.task import SlurmTask
from rsctl.cluster.task import AttemptEnd

class Slow:
    def __del__(self):  # modules are taken down after Python's own handlers are
        print("unloading", flush=True)
        time.sleep(1)

slow = Slow()
import rsctl.cluster.slurm.task as module
module.perform = lambda *_, **__: AttemptEnd("done", "", None)
module._write_to = lambda log: None
SlurmTask(run="{run}", number=0, submission="", attempts=3, staging="", snapshot_seconds=1)()
"""


@pytest.mark.parametrize("name", ["SIGUSR2", "SIGTERM"])
def test_a_signal_after_the_last_word_does_not_fail_the_job_of_a_task_that_is_done(
    name: str, tmp_path: object
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", ENDING.replace("{run}", str(tmp_path))], stdout=subprocess.PIPE, text=True
    ) as task:
        assert task.stdout is not None
        assert task.stdout.readline() == "unloading\n"
        task.send_signal(getattr(signal, name))
        assert task.wait(20) == 0
