"""Whatever files and people call things, the command line's outputs hold nothing that steers a terminal."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from chain import Chain, tiny, toml

from rsctl.plain import Guarded, harmless, shortened
from rsctl.store.attempts import Claim, here

HOSTILE = "a\x1b[2J\x1b]0;title\x07\x9b31m\x08\x7f\u202eb\u200b\u2028\x85c"
SHOWN = "a�31m���b���c"


def rsctl(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, "-m", "rsctl", *arguments], capture_output=True, timeout=60)


def said(done: subprocess.CompletedProcess[bytes]) -> str:
    """Everything that a command wrote; fails where a character of it isn't shown as it is."""
    text = (done.stdout + done.stderr).decode()
    assert "Traceback" not in text
    assert all(c.isprintable() for c in text.replace("\n", "")), repr(text)
    return text


def test_every_kind_of_steering_character_is_taken_out() -> None:
    assert harmless(HOSTILE) == SHOWN
    assert harmless("kept: σ\tℓ2 – “é” 日本\r\nnext\u00a0\u3000line") == "kept: σ\tℓ2 – “é” 日本\nnext  line"
    assert harmless("\ud800 \x1b") == "� �"
    # A title without an end hides nothing of what follows.
    assert harmless("\x1b]0;x and more") == "0;x and more"


def test_long_messages_keep_their_ends() -> None:
    told = shortened(f"file.toml: {'k' * 44_000_000}: no such key.\n" + "one more line\n" * 20_000 + "last")
    assert len(told) < 3000
    assert "[44,000,001 characters]" in told
    assert told.startswith("file.toml: kkk")
    assert told.endswith("one more line\nlast")
    assert ": no such key." in told
    assert "more lines …" in told


def test_names_in_files_steer_nothing(chain: Chain) -> None:
    escaped = json.dumps(HOSTILE)[1:-1].replace("\\u007f", "\x7f")
    toml_text = escaped.replace("\x7f", "\\u007f")
    chain.file(f'"{toml_text}" = 1\n{toml(tiny())}', "key.toml")
    assert f"{SHOWN}: no such key" in said(rsctl("check", "key.toml"))
    chain.file(
        toml(tiny(method={"name": "checkpoint", "file": "X"})).replace('"X"', f'"{toml_text}"'), "file.toml"
    )
    assert "can't be read" in said(rsctl("check", "file.toml"))
    (chain.folder / f"{HOSTILE}.toml").write_text("")
    assert SHOWN in said(rsctl("check", f"{HOSTILE}.toml"))
    (chain.folder / "rsctl.toml").write_text(f'store = "store"\nplugins = ["{toml_text}"]\n')
    chain.file(toml(tiny()), "good.toml")
    assert SHOWN in said(rsctl("check", "good.toml"))


def test_logs_and_reasons_steer_nothing(chain: Chain) -> None:
    chain.plan(tiny())
    run = next(chain.store.runs("models"))
    claim = Claim.take(run, 0, here())
    claim.end("failed", HOSTILE)
    run.log_file(0).parent.mkdir(parents=True, exist_ok=True)
    run.log_file(0).write_text(f"1%\r2%\r\n{HOSTILE}\nlast\n")
    assert said(rsctl("logs", run.id)) == f"1%\n2%\n{SHOWN}\nlast\n"
    assert f"failed: {SHOWN}" in said(rsctl("status", "tiny"))
    [sweep] = json.loads(rsctl("status", "tiny", "--json").stdout)["sweeps"]
    assert sweep["runs"][0]["tasks"][0]["reason"] == HOSTILE


def test_a_checkpoints_keys_steer_nothing(chain: Chain) -> None:
    torch = pytest.importorskip("torch")
    torch.save({HOSTILE: torch.zeros(3), "b": torch.zeros(2)}, chain.folder / "model.pt")
    assert SHOWN in said(rsctl("certify", "model.pt", "--dataset", "digits", "--sigma", "0.5"))


def test_rsctls_own_codes_reach_the_terminal(chain: Chain) -> None:
    chain.plan(tiny())
    run = next(chain.store.runs("models"))
    Claim.take(run, 0, here()).end("failed", HOSTILE)
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "rsctl", "status", "tiny", "--watch"], stdout=theirs
    ) as process:
        os.close(theirs)
        shown = b""
        while b"failed: " not in shown:
            shown += os.read(ours, 65536)
        shown += os.read(ours, 65536) if not shown.endswith(b"\n") else b""
        process.terminate()
    os.close(ours)
    assert shown.startswith(b"\x1b[H\x1b[2J")
    assert SHOWN in shown.decode()
    assert all(c.isprintable() for c in shown.decode().removeprefix("\x1b[H\x1b[2J").replace("\r\n", ""))


def test_what_a_process_writes_goes_through_the_guard(tmp_path: Path) -> None:
    with open(tmp_path / "out", "wb") as binary:
        stream = Guarded(binary, "utf-8", "replace")
        print(HOSTILE, file=stream)
        stream.flush()
    assert (tmp_path / "out").read_text() == SHOWN + "\n"
