"""Files that strangers wrote or named: nothing more is taken of them, copied or run than what was asked for."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from chain import Chain, tiny, wait_until

import rsctl
from rsctl.cluster.backend import BackendState
from rsctl.cluster.doctor import examine
from rsctl.cluster.local.processes import stopped_queues
from rsctl.cluster.slurm.failure_reason import explain
from rsctl.config.settings import load_settings
from rsctl.errors import InputError
from rsctl.modules import module_command
from rsctl.store.attempts import Claim, State, here, latest_attempt
from rsctl.store.layout import Run


def checkpoint(file: Path) -> dict[str, object]:
    return tiny(method={"name": "checkpoint", "file": str(file)}, training={})


def refused(chain: Chain, file: Path) -> str:
    with pytest.raises(InputError) as caught:
        chain.plan(checkpoint(file))
    return str(caught.value)


def test_a_sweep_file_copies_no_file_that_cant_hold_weights(chain: Chain) -> None:
    key = chain.folder / "id_ed25519"
    key.write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nsecret\n")
    assert "is not a file of weights" in refused(chain, key)
    assert not any(
        b"secret" in file.read_bytes() for file in chain.folder.rglob("*") if file.is_file() and file != key
    )


@pytest.mark.parametrize(
    ("lines", "key"),
    [
        ('partition = "a\\n#SBATCH --uid=0"', "partition"),
        ('account = "a\\rb"', "account"),
        ('qos = "a\\u2028b"', "qos"),
        ('gres = "gpu\\n"', "gres"),
        ('constraint = "\\u0000"', "constraint"),
        ('python = "python\\nrm x"', "python"),
        ('staging = "/x\\ny"', "staging"),
        ('setup = ["module load a", "x\\ny"]', "setup"),
        ('extra = { mail-type = "END\\nrm x" }', "extra"),
        ('extra = { "a\\nb" = 1 }', "extra"),
        ('extra = { "a b" = 1 }', "extra"),
        ("extra = { ch_dir = 1, CHDIR = 1 }", "extra"),
    ],
)
def test_no_setting_is_two_lines_of_a_batch_script(lines: str, key: str, chain: Chain) -> None:
    (chain.folder / "rsctl.toml").write_text(f'[profiles.gpu]\nbackend = "slurm"\n{lines}\n')
    with pytest.raises(InputError, match=rf"profiles\.gpu\.{key}: "):
        load_settings()
    (chain.folder / "rsctl.toml").write_text(
        '[profiles.gpu]\nbackend = "slurm"\nsetup = ["a\\tb"]\nextra = { mail-type = "END" }\n'
    )
    load_settings()


def test_no_path_is_two_lines_of_a_batch_script(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RSCTL_STORE", str(chain.folder / "a\nb"))
    with pytest.raises(InputError, match=r"(?s)store: .* control characters"):
        load_settings()


@pytest.mark.parametrize("reason", ["🐛" * 10_000, "\x1b" * 600, "é" * 600, "why " * 5000])
def test_no_reason_is_too_long_for_the_tail(reason: str, chain: Chain) -> None:
    chain.plan(tiny())
    run = next(chain.store.runs("models"))
    Claim.take(run, 0, here()).end("failed", reason)
    attempt = latest_attempt(run, 0)
    assert attempt is not None
    assert attempt.ended == "failed"
    assert reason.startswith(attempt.reason[:100])
    assert len(attempt.reason) > 140


def test_a_long_last_word_of_a_log_is_told(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("ImportError: no module " + "x" * 50_000 + "\n")
    seen = explain(BackendState(State.FAILED, "FAILED; see the log"), Run(tmp_path), log, began=False)
    assert seen.reason.startswith("FAILED; ImportError: no module xxx")
    assert len(seen.reason) < 700


def test_doctor_sees_a_stopped_queue(chain: Chain) -> None:
    environment = {**os.environ, "RSCTL_STORE": str(chain.store.root)}
    code = "import fcntl, sys, time\nfcntl.flock(open(sys.argv[2], 'a'), fcntl.LOCK_EX)\ntime.sleep(99)"
    lock = chain.folder / "lock"
    with subprocess.Popen(
        [sys.executable, "-c", code, "rsctl.cluster.local.queue", lock], env=environment
    ) as process:
        try:
            assert stopped_queues(chain.store) == []
            process.send_signal(signal.SIGSTOP)
            wait_until(lambda: stopped_queues(chain.store) == [process.pid], 10)
            [found] = [finding for finding in examine(chain.place) if finding.what == "queue"]
        finally:
            process.kill()
    assert not found.ok
    assert f"process {process.pid} was stopped: 'kill -CONT {process.pid}'" in found.text


def test_nothing_is_imported_from_the_current_folder(tmp_path: Path) -> None:
    """Somebody's repository may have a `socket.py`; what runs in a process of its own must not take it for Python's."""
    for name in ("socket", "json", "argparse", "jobs"):
        (tmp_path / f"{name}.py").write_text("open('imported', 'w')\n")
    done = subprocess.run(
        module_command("jobs.certify.predict", "--help"),
        cwd=tmp_path, capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    assert not (tmp_path / "imported").exists()


def test_no_command_starts_python_where_its_user_is() -> None:
    """By the code itself: `-m` puts the current folder first on the path, so whoever uses it names another folder."""
    for file in Path(rsctl.__file__).parent.rglob("*.py"):
        text = file.read_text()
        for place in re.finditer(r"sys\.executable, \"-m\"", text):
            assert 'cwd="/"' in text[place.start() : place.start() + 400], file


@pytest.mark.parametrize(
    "begun", [b"", b"\x09", (9).to_bytes(8, "little"), (9).to_bytes(8, "little") + b'"/a']
)
def test_the_reading_process_ends_when_who_made_it_was_killed_in_a_request(begun: bytes) -> None:
    command = module_command("rsctl.store.strangers")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as reader:
        assert reader.stdin is not None
        reader.stdin.write(begun)
        reader.stdin.close()
        try:
            assert reader.wait(timeout=20) == 0
        finally:
            reader.kill()
