"""Cost of a run: the time between the first and last record of every attempt at its tasks."""

from __future__ import annotations

from rsctl.store.attempts import attempt_numbers, read_attempt
from rsctl.store.layout import Run


def task_hours(run: Run) -> float:
    """Hours of one GPU (or of one process, where there is none) over all attempts at all tasks, lost ones included; NaN
    if none was ever claimed.

    A training in several processes counts once for each, as each holds a GPU; threads don't count. An attempt that died
    without a record of its end counts up to its last record.
    """
    processes = int(run.launch().get("processes", 1)) if run.kind == "models" else 1
    seconds, claimed = 0.0, False
    for task, attempts in attempt_numbers(run).items():
        for number in attempts:
            attempt = read_attempt(run, task, number)
            if "time" in attempt.claim:
                claimed = True
                last = attempt.end or attempt.progress or attempt.claim
                seconds += max(0.0, last.get("time", 0.0) - attempt.claim["time"])
    return processes * seconds / 3600 if claimed else float("nan")
