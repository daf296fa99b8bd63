"""Shell code around a task in its batch script: detects failed setup lines, and requeues after a warning signal that arrives before Python handles signals."""

from __future__ import annotations

import shlex
from pathlib import Path

SETUP_FAILED = "RSCTL_SETUP_FAILED"
"""Variable with the failed setup lines and their exit codes."""
NOT_YET_LISTENING = "RSCTL_NOT_YET_LISTENING"
"""Variable with the path of a file that has one line per start of the job since Python last handled signals."""
GAVE_UP = "rsctl: error: "
"""Prefix of the line with the reason why a job that never reached its task isn't requeued any more."""
SETUP_MESSAGE = "rsctl: setup: "
"""Prefix of the lines that report a failed setup line."""
RUN = "rsctl_run"
"""Shell function that runs the step of a job."""

# In watch.sh a function such as `module` or `conda` hides its own call from ERR, so DEBUG keeps it. DEBUG also sees the call of
# the ERR trap: the line that failed is the one before. EXIT is for lines that end the script, as with `set -e`.
# With errtrace ERR is seen within brackets and substitutions too, where DEBUG isn't: `export A=$(nosuch)` succeeds. What
# fails within functions is theirs. A file has the line under way, for one that kills the script itself.


def _shell(name: str) -> str:
    """The shell code beside this module in a file of that name; it has the names above literally."""
    return Path(__file__).with_name(name).read_text(encoding="utf-8").rstrip("\n")


def watched(setup: list[str], at: str) -> list[str]:
    """Wrap setup lines so that a variable lists those that failed; the script continues unless one of them exits.

    `at` is the path, as bash reads it, of a file with the line that is running.
    """
    if not setup:
        return []
    # The empty line ends a line that a backslash at the very end continues.
    lines = f"eval {shlex.quote(chr(10).join([*setup, '', ':']))}"
    return [f"rsctl_at={at}", _shell("watch.sh"), lines, _shell("watched.sh")]


def prepared(folder: str, attempts: int, setup: list[str]) -> list[str]:
    """Return the lines before a task: from the first on, a warning requeues the job, at most `attempts` times in a row."""
    warned = _shell("requeue.sh").replace("ATTEMPTS", str(attempts)).replace("FOLDER", shlex.quote(folder))
    return [*_own_log(folder), warned, *watched(setup, f"{shlex.quote(folder)}/$rsctl_job.setup")]


def batch_log(folder: str, array: bool) -> str:
    """Return the path of SLURM's log for sbatch. SLURM fills in no number in a path with a backslash; then the script opens the file."""
    return "/dev/null" if "\\" in folder else f"{folder.replace('%', '%%')}/{_name(array)}_0_log.out"


def step_log(folder: str, array: bool) -> str:
    """Return the path of the log for srun, one file per process; a bare name is used unchanged."""
    name = f"{_name(array)}_%t_log.out"
    return name if "\\" in folder else f"{folder.replace('%', '%%')}/{name}"


def _name(array: bool) -> str:
    return "%A_%a" if array else "%j"


def _own_log(folder: str) -> list[str]:
    if "\\" not in folder:
        return []
    job = "${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID}"
    return [f'rsctl_job={job}; exec >> {shlex.quote(folder)}/"${{rsctl_job:-$SLURM_JOB_ID}}"_0_log.out 2>&1']


def escaped(value: object) -> object:
    """Escape a value for an #SBATCH line: a backslash escapes the next character there, even between quotes."""
    return value.replace("\\", "\\\\") if isinstance(value, str) else value
