"""The shell around a task: paths that SLURM takes apart, setup lines that fail, and warnings before Python listens."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sites import Site, attempts

from rsctl.cluster.backend import BackendState
from rsctl.cluster.slurm.commands import limits
from rsctl.cluster.slurm.failure_reason import explain
from rsctl.cluster.slurm.script import RUN, SETUP_FAILED, prepared, watched
from rsctl.store.attempts import State
from rsctl.store.layout import Run

if TYPE_CHECKING:
    from cluster import Cluster

LMOD = """\
module() { echo 'Lmod has detected the following error:  The following module(s) are unknown: "cuda/99"' >&2; return 1; }"""
CONDA = """conda() { echo "CondaError: Run 'conda init' before 'conda activate'" >&2; return 1; }"""
TCL = """module() { echo "ModuleCmd_Load.c(213):ERROR:105: Unable to locate a modulefile for 'cuda/99'" >&2; }"""
ABSENT = "/no/such/python"


SETUPS = [
    ([LMOD, "module load cuda/99"], ["setup failed: 'module load cuda/99' (exit code 1)", "are unknown"]),
    ([CONDA, "conda activate rs"], ["'conda activate rs' (exit code 1)", "CondaError: Run 'conda init'"]),
    ([TCL, "module load cuda/99"], ["ERROR:105: Unable to locate a modulefile for 'cuda/99'"]),
    (["module load cuda"], ["'module load cuda' (exit code 127)", "module: command not found"]),
    (["set -eu", "source /opt/none/env.sh"], ["'source /opt/none/env.sh' (exit code 1)"]),
    (["set -e", LMOD, "module load cuda/99"], ["'module load cuda/99' (exit code 1)", "are unknown"]),
    (
        ["if true; then", "echo half"],
        ["its lines can't be read by bash, or one in brackets failed (exit code 2)"],
    ),
    (["echo 'ends with a quote"], ["its lines can't be read by bash"]),
    (["if [ -d / ]; then", "cd /no\\such", "fi"], ["'cd /no\\such' (exit code 1)"]),
    (["exit 3"], ["'exit 3' (exit code 3)"]),
    (["(exit 4)"], ["or one in brackets failed (exit code 4)"]),
    (["export A=$(nosuch)"], ["'export A=$(nosuch)' (exit code 127)", "nosuch: command not found"]),
    (["A=$(nosuch)"], ["'A=$(nosuch)' (exit code 127)"]),
    (["true", "(cd /no/such; true)"], ["'cd /no/such' (exit code 1)"]),
    (["( (cd /no/such; true) | cat )"], ["'cd /no/such' (exit code 1)"]),
    (
        ["exec /no/such"],
        ["setup failed: 'exec /no/such' never returned: ", "/no/such: No such file or directory"],
    ),
    (["true", "kill -9 $$"], ["setup failed: 'kill -9 $$' never returned"]),
    (["set -e", "echo on", "cd /no/such", "echo never"], ["'cd /no/such' (exit code 1)"]),
    (["set -e", "export A=$(nosuch)"], ["'export A=$(nosuch)' (exit code 127)"]),
    (["module load nosuch"], ["'module load nosuch' (exit code 127)"]),
    (["conda activate nosuch"], ["'conda activate nosuch' (exit code 127)"]),
    (["source /no/such"], ["'source /no/such' (exit code 1)"]),
    ([". /no/such && export A=1"], ["; /no/such: No such file or directory"]),
    (["cd /no/such && make"], ["; cd: /no/such: No such file or directory"]),
    (["export PATH=/no/such:$PATH", "nosuch --version"], ["'nosuch --version' (exit code 127)"]),
]


def run_script(folder: Path, lines: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", "\n".join(lines)], cwd=folder, env={**os.environ, **environment}, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, timeout=60,
    )  # fmt: skip


@pytest.mark.parametrize(("setup", "words"), SETUPS)
def test_setup_that_fails_is_told_by_the_log_of_its_job(
    tmp_path: Path, setup: list[str], words: list[str]
) -> None:
    done = run_script(tmp_path, [*watched(setup, "8.setup"), f"exec {ABSENT}"])
    log = tmp_path / "8_0_log.out"
    log.write_text(done.stdout)
    found = explain(BackendState(State.FAILED, "SLURM: FAILED"), Run(tmp_path), log, began=False)
    assert all(word in found.reason for word in words), (found.reason, done.stdout)


@pytest.mark.parametrize(
    "setup",
    [
        ["[ -f /no/such ] && source /no/such", "export A='x\\y'"],
        ["export A='x\\y'", "if false; then exit 1; fi"],
        ["set -euo pipefail", "A=x\\\\y \\"],
        ["A=$(cat <<'END'", "x\\y", "END", ")"],
        ["ls /no/such || A='x\\y'"],
        ["f() { return 1; }; if ! f; then A='x\\y'; fi"],
        [
            "f() { false; (false); B=$(false); return 0; }",
            "f",
            "A=$(grep -c x /dev/null || true)",
            "A='x\\y'",
        ],
        ["set -C", "A='x\\y'"],
    ],
)
def test_setup_that_works_is_left_alone(tmp_path: Path, setup: list[str]) -> None:
    done = run_script(tmp_path, [*watched(setup, "8.setup"), f'echo "[$A]" "[${{{SETUP_FAILED}:-}}]"'])
    assert done.stdout.splitlines()[-1] == "[x\\y] []", done.stdout
    assert "rsctl: setup" not in done.stdout
    assert not (tmp_path / "8.setup").exists()


def test_a_task_that_runs_after_such_a_line_knows_of_it(tmp_path: Path) -> None:
    setup = ["export A=$(nosuch)", "(cd /no/such; true)", "true"]
    done = run_script(tmp_path, [*watched(setup, "8.setup"), f'echo "[${{{SETUP_FAILED}}}]"'])
    assert done.stdout.splitlines()[-1] == "['export A=$(nosuch)' (exit code 127)]"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("step", "state", "outcome"),
    [
        ("kill -USR2 $$", "RUNNING", "requeued"),  # Python dies of the warning itself
        ("kill -TERM $$", "RUNNING", "requeued"),  # and of a pre-emption without one
        ("kill -USR2 $PPID; sleep 1", "TIMEOUT", "requeued"),  # the script hands its warning on
        ("rm $RSCTL_NOT_YET_LISTENING; trap 'exit 7' USR2; kill -USR2 $PPID; sleep 1 & wait", "RUNNING", "7"),
        ("kill -USR2 $$", "CANCELLED", "not ours"),
        ("kill -USR2 $$", "PREEMPTED", "not ours"),
        ("exit 5", "RUNNING", "5"),
        ("exit 0", "RUNNING", "0"),
        ("kill -KILL $$", "RUNNING", "137"),
    ],
)
def test_what_becomes_of_a_step_that_is_warned(tmp_path: Path, step: str, state: str, outcome: str) -> None:
    scontrol = tmp_path / "scontrol"
    scontrol.write_text(
        f'#!/bin/sh\ncase $1 in show) echo "JobId=8 JobState={state} Reason=None" ;; *) echo $* >> asked ;; esac\n'
    )
    scontrol.chmod(0o755)
    path = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    job = {"SLURM_JOB_ID": "8", "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "0"}
    script = [*prepared(str(tmp_path), 2, ["set -eu"]), f"{RUN} bash -c {shlex.quote(step)}"]
    done = run_script(tmp_path, script, **path, **job)
    asked = (tmp_path / "asked").read_text() if (tmp_path / "asked").exists() else ""
    if outcome == "requeued":
        assert (done.returncode, asked) == (0, "requeue 7_0\n"), done.stdout
        # Not for ever: the second time in a row it says why, and fails.
        again = run_script(tmp_path, script, **path, **job)
        assert again.returncode == 1
        assert "warning came 2 times before Python had started" in again.stdout
        assert (tmp_path / "asked").read_text() == asked
    else:
        assert asked == ""
        assert str(done.returncode) == (outcome if outcome.isdigit() else "1")


def test_setup_that_fails_is_the_reason_in_status(site: Site) -> None:
    site.profile("odd", setup=[LMOD, "module load cuda/99"], python=ABSENT)
    site.sweep(certification={"shards": 1})
    site.submit("--cluster", "odd")
    assert site.wait() == ["failed", "cancelled"]
    reason = next(iter(site.statuses().values())).reason
    assert (
        "SLURM: FAILED (NonZeroExitCode); setup failed: 'module load cuda/99' (exit code 1): error: "
        in reason
    )


def test_a_task_that_fails_after_its_setup_did_names_both_and_one_that_works_is_done(site: Site) -> None:
    lines = [LMOD, "module load cuda/99", "module purge", "export WORKS='a\\b' \\"]
    site.profile("odd", setup=lines)
    site.sweep([0.25, 0.5], certification={"shards": 1})
    site.behave(train_fails=[0.5])
    site.submit("--cluster", "odd")
    site.wait()
    reasons = {
        run.train_spec.sigma: site.statuses()[f"models/{run.id}/0"].reason
        for run in site.store.runs("models")
    }
    assert (
        "asked to fail (setup failed before it: 'module load cuda/99' (exit code 1), 'module purge'"
        in reasons[0.5]
    )
    assert [attempts(run) for run in site.store.runs("models") if run.train_spec.sigma == 0.25] == [["done"]]


@pytest.mark.parametrize(
    "name",
    [
        'it\'s 100% "my" \\path',
        *(
            pytest.param(name, marks=pytest.mark.long)
            for name in ("a\\b", "\\\\a\\", "#x $HOME;(ä)", "[50%]*", "a&b|c")
        ),
    ],
)
def test_paths_that_slurm_takes_apart(
    plain_cluster: Cluster, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    folder = tmp_path / name
    folder.mkdir()
    monkeypatch.setenv("RSCTL_CONFIG", str(folder / "rsctl.toml"))
    there = Site(plain_cluster, folder)
    there.profile("odd", setup=[f"cd {tmp_path}", 'export X="a\\\\b\\c"'])
    there.sweep()
    there.submit("--cluster", "odd")
    assert there.wait() == ["done"] * 3, there.explain()
    assert limits().cluster == "plain"
    # SLURM's own log is where the record says, for every task.
    logs = list((folder / "runs" / "submissions").glob("*/*_0_log.out"))
    assert len(logs) == 3
    # A working directory that SLURM doesn't find would be /tmp, whose Python files come first on the path.
    worked_in = there.cluster.query("squeue", "-h", "--states=all", "-o", "%Z").splitlines()
    assert {str(log.parent) for log in logs} <= set(worked_in)


def slow_python(folder: Path, seconds: float, once: bool) -> str:
    """A Python whose start takes a while, as from a busy file system; where `once`, only the first time."""
    file = folder / "slow-python"
    first = f"[ -e {folder}/started ] || " if once else ""
    file.write_text(
        f'#!/bin/bash\n{first}{{ touch {folder}/started; sleep {seconds}; }}\nexec {sys.executable} "$@"\n'
    )
    file.chmod(0o755)
    return str(file)


@pytest.mark.long  # SLURM lets a requeued job wait for ten seconds
@pytest.mark.parametrize("to", ["step", "script", "setup"])
def test_a_warning_before_python_listens_returns_the_task_to_the_queue(
    site: Site, tmp_path: Path, to: str
) -> None:
    """To the step alone, as older versions asked for it; to the script, while a step starts or before there is one."""
    if to == "setup":
        site.profile("slow", setup=[f"[ -e {tmp_path}/started ] || {{ touch {tmp_path}/started; sleep 4; }}"])
    else:
        site.profile("slow", python=slow_python(tmp_path, 60, once=True))
    site.sweep(certification={"shards": 1})
    site.submit("--cluster", "slow")
    site.wait(lambda _: (tmp_path / "started").exists())
    (job,) = site.running()
    site.cluster.query("scancel", "--signal=USR2", *(["--batch"] if to != "step" else []), job, check=True)
    assert site.wait() == ["done"] * 2, site.explain()
    assert [attempts(run) for run in site.store.runs("models")] == [["done"]]


def test_one_that_never_gets_to_listen_fails_with_a_sentence(site: Site, tmp_path: Path) -> None:
    site.profile("slow", python=slow_python(tmp_path, 60, once=False), attempts=1)
    site.sweep(certification={"shards": 1})
    site.submit("--cluster", "slow")
    site.wait(lambda _: (tmp_path / "started").exists())
    site.cluster.query("scancel", "--signal=USR2", "--batch", site.running()[0], check=True)
    assert site.wait() == ["failed", "cancelled"]
    assert "warning came 1 times before Python had started" in next(iter(site.statuses().values())).reason


@pytest.mark.long
def test_a_users_scancel_before_python_listens_is_not_undone(site: Site, tmp_path: Path) -> None:
    site.profile("slow", python=slow_python(tmp_path, 60, once=False))
    site.sweep(certification={"shards": 1})
    site.submit("--cluster", "slow")
    site.wait(lambda _: (tmp_path / "started").exists())
    site.cluster.query("scancel", site.running()[0], check=True)
    assert site.wait() == ["cancelled", "cancelled"]


@pytest.mark.long
def test_a_time_limit_before_python_listens_is_survived(site: Site, tmp_path: Path) -> None:
    site.profile("slow", python=slow_python(tmp_path, 80, once=True), minutes=1, warning_seconds=20)
    site.sweep(certification={"shards": 1})
    site.submit("--cluster", "slow")
    assert site.wait() == ["done"] * 2, site.explain()
