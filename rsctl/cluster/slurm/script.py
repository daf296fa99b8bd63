"""Shell code around a task in its batch script: detects failed setup lines, and requeues after a warning signal that arrives before Python handles signals."""

from __future__ import annotations

import shlex

SETUP_FAILED = "RSCTL_SETUP_FAILED"
"""Variable with the failed setup lines and their exit codes."""
NOT_YET_LISTENING = "RSCTL_NOT_YET_LISTENING"
"""Variable with the path of a file that has one line per start of the job since Python last handled signals."""
GAVE_UP = "rsctl: error: "
"""Prefix of the line with the reason why a job that never reached its task isn't requeued any more."""
SETUP_MESSAGE = "rsctl: setup: "
"""Prefix of the lines that report a failed setup line."""
AT = '"$rsctl_at"'
"""Path of a file with the setup line that is running."""
RUN = "rsctl_run"
"""Shell function that runs the step of a job."""

# A function such as `module` or `conda` hides its own call from ERR, so DEBUG keeps it. DEBUG also sees the call of
# the ERR trap: the line that failed is the one before. EXIT is for lines that end the script, as with `set -e`.
# With errtrace ERR is seen within brackets and substitutions too, where DEBUG isn't: `export A=$(nosuch)` succeeds. What
# fails within functions is theirs. A file has the line under way, for one that kills the script itself.
_WATCH = f"""\
rsctl_failed() {{
    case "$2" in "eval "*) set -- "$1" "its lines can't be read by bash, or one in brackets failed" ;; *) set -- "$1" "'$2'" ;; esac
    case "${{{SETUP_FAILED}:-}}" in *"$2"*) return 0 ;; esac
    export {SETUP_FAILED}="${{{SETUP_FAILED}:+${SETUP_FAILED}, }}$2 (exit code $1)"
    # Variables of a subshell end with it.
    [ "$BASH_SUBSHELL" = 0 ] || echo "$2 (exit code $1)" 2>/dev/null >> {AT}.failed || :
    echo "{SETUP_MESSAGE}$2 (exit code $1)" >&2
}}
rsctl_left() {{
    case "$3" in "eval "*) rsctl_failed "$1" "$2" ;; *) rsctl_failed "$1" "$3" ;; esac
    exit 1
}}
rsctl_erred() {{
    case "$5" in "" | source) ;; *) return 0 ;; esac
    if [ "$BASH_SUBSHELL" = 0 ]; then rsctl_failed "$1" "$2"; return; fi
    case "$3" in "eval "*) rsctl_failed "$1" "$4" ;; *"$4"*) rsctl_failed "$1" "$3" ;; *) rsctl_failed "$1" "$4" ;; esac
}}
rsctl_line= rsctl_before=
set -o errtrace
trap 'rsctl_before=$rsctl_line rsctl_line=$BASH_COMMAND; echo "$BASH_COMMAND" 2>/dev/null >| {AT} || :' DEBUG
trap 'rsctl_erred "$?" "$rsctl_before" "$rsctl_line" "$BASH_COMMAND" "${{FUNCNAME:-}}"' ERR
trap 'rsctl_left "$?" "$rsctl_before" "$rsctl_line"' EXIT"""
_WATCHED = f"""\
trap - DEBUG ERR EXIT; set +o errtrace
if [ -s {AT}.failed ]; then export {SETUP_FAILED}="${{{SETUP_FAILED}:+${SETUP_FAILED}, }}$(head -n 1 {AT}.failed)"; fi
: >| {AT} || :
rm -f {AT} {AT}.failed"""

_WARNED = f"""\
rsctl_job=${{SLURM_ARRAY_JOB_ID:+${{SLURM_ARRAY_JOB_ID}}_$SLURM_ARRAY_TASK_ID}}
rsctl_job=${{rsctl_job:-$SLURM_JOB_ID}}
export {NOT_YET_LISTENING}=FOLDER/$rsctl_job.starts
echo "$(date +%s)" >> "${NOT_YET_LISTENING}"
rsctl_requeue() {{
    trap - EXIT
    # One that was cancelled or pre-empted isn't ours to revive.
    case " $(scontrol show job --oneliner "$SLURM_JOB_ID") " in
        *" JobState=RUNNING "* | *" JobState=TIMEOUT "* | *" JobState=CONFIGURING "*) ;;
        *) exit 1 ;;
    esac
    if [ "$(wc -l < "${NOT_YET_LISTENING}")" -ge ATTEMPTS ]; then
        echo "GAVE_UPSLURM's warning came ATTEMPTS times before Python had started. Give it more time: retry with --minutes" >&2
        exit 1
    fi
    echo "rsctl: warned before Python listened; requeued as $rsctl_job" >&2
    scontrol requeue "$rsctl_job" && exit 0
    exit 1
}}
trap rsctl_requeue USR2
{RUN}() {{
    rsctl_step= rsctl_warned= rsctl_again=
    trap 'rsctl_warned=1 rsctl_again=1; [ -z "$rsctl_step" ] || kill -USR2 "$rsctl_step" || true' USR2
    "$@" &
    rsctl_step=$!
    [ -z "$rsctl_warned" ] || kill -USR2 "$rsctl_step" || true
    rsctl_again=1
    while [ -n "$rsctl_again" ]; do
        rsctl_again=
        rsctl_code=0
        wait "$rsctl_step" || rsctl_code=$?
    done
    # 140 and 143: killed by USR2 or TERM.
    if [ -e "${NOT_YET_LISTENING}" ]; then
        case "${{rsctl_warned:-0}} $rsctl_code" in "1 "[1-9]* | *" 140" | *" 143") rsctl_requeue ;; esac
    fi
    exit "$rsctl_code"
}}"""


def watched(setup: list[str], at: str) -> list[str]:
    """Wrap setup lines so that a variable lists those that failed; the script continues unless one of them exits.

    `at` is the path, as bash reads it, of a file with the line that is running.
    """
    if not setup:
        return []
    # The empty line ends a line that a backslash at the very end continues.
    lines = f"eval {shlex.quote(chr(10).join([*setup, '', ':']))}"
    return [f"rsctl_at={at}", _WATCH, lines, _WATCHED]


def prepared(folder: str, attempts: int, setup: list[str]) -> list[str]:
    """Return the lines before a task: from the first on, a warning requeues the job, at most `attempts` times in a row."""
    warned = (
        _WARNED.replace("FOLDER", shlex.quote(folder))
        .replace("ATTEMPTS", str(attempts))
        .replace("GAVE_UP", GAVE_UP)
    )
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
