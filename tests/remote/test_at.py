"""`rsctl --at NAME COMMAND`: through a real sshd, as another user with another home."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from chain import Chain, tiny, toml
from sshd import FarMachine

from rsctl.cli.app import run

ODD = [
    "a b", "it's", '"double"', "$(touch seen-1)", "`touch seen-2`", "; touch seen-3", "new\nline", "ünïcödé σ", "-x", "--", "*", "~", "\\", "%s", "",
    "!!", "\t", "a\\nb", "$HOME", "{a,b}", "\x1b[31mred",
]  # fmt: skip
PRINT = """printf '%s\\0' "$@" """


def started(*words: str, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "rsctl", *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        **options,
    )  # fmt: skip


def on_a_terminal(*words: str, answers: dict[str, str] | None = None) -> tuple[int, str]:
    """Run a command on a terminal, and type the answers to its questions; its exit code and what the terminal showed."""
    child, terminal = pty.fork()
    if not child:
        os.execv(sys.executable, [sys.executable, "-m", "rsctl", *words])
    shown, waiting = "", dict(answers or {})
    with contextlib.suppress(OSError):  # the end of a terminal
        while part := os.read(terminal, 1000):
            shown += part.decode()
            for question in [one for one in waiting if one in shown]:
                os.write(terminal, waiting.pop(question).encode())
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), shown


def test_output_and_exit_codes_are_those_of_the_command(far: FarMachine, chain: Chain, capfd: Any) -> None:
    assert run(["--at", "far", "status", "--json"]) == 0
    out, err = capfd.readouterr()
    assert json.loads(out)["store"] == str(far.home / "results")
    assert err == ""
    assert run(["--at=far", "export", "none"]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert "no sweep 'none' in" in err


def test_every_argument_arrives_as_it_was_given(far: FarMachine, chain: Chain, capfd: Any) -> None:
    far.put_rsctl(PRINT)
    assert run(["--at", "far", "explain", *ODD]) == 0
    assert capfd.readouterr().out.split("\0")[:-1] == ["explain", *ODD]
    assert run(["--at", "far", "submit", *ODD]) == 0
    assert capfd.readouterr().out.split("\0")[:-1] == ["submit", *ODD]
    assert list(far.home.glob("seen*")) == list(chain.folder.glob("seen*")) == []


def test_a_sweep_file_takes_its_checkpoints_along(far: FarMachine, chain: Chain, capfd: Any) -> None:
    far.put_rsctl("""printf '%s\\n' "$2" >&2; cat "$2" """)
    weights = chain.folder / "best of\n'all'.pth"
    weights.write_bytes(os.urandom(1000))
    method = {"name": "checkpoint", "file": str(weights).replace("\n", "\\n"), "sha256": ""}
    file = chain.file(f"# a comment\n{toml(tiny(method=method))}")

    def check() -> tuple[str, Path]:
        assert run(["--at", "far", "check", str(file)]) == 0
        out, err = capfd.readouterr()
        there = Path(json.loads(out.partition("file = ")[2].partition("\n")[0]))
        assert there.read_bytes() == weights.read_bytes()
        assert out.startswith("# a comment\n")
        assert Path(err.strip()).name == "sweep.toml"
        return err, there

    first, there = check()
    assert there.is_relative_to(far.home / ".local/share/rsctl/remote/files")
    kept = there.stat().st_ino
    assert check() == (first, there)
    assert there.stat().st_ino == kept  # not sent again
    there.write_bytes(b"damaged")
    check()
    assert there.stat().st_ino != kept
    file.write_text(file.read_text().replace("tiny", "other"))
    again, same = check()
    assert again != first
    assert same == there  # the checkpoint is kept under its own content


def test_paths_of_the_other_side_are_left_alone(far: FarMachine, chain: Chain, capfd: Any) -> None:
    far.put_rsctl(PRINT)
    for words in (
        ["certify", "/scratch/model.pth", "--sigma", "1"],
        ["submit", "none.toml"],
        ["submit", "~nobody-here/x.toml"],
        ["pack", "tiny", "-o", "-"],
        ["data", "check", "."],
    ):
        assert run(["--at", "far", *words]) == 0
        assert capfd.readouterr().out.split("\0")[:-1] == words


def test_plugins_of_rsctl_toml_go_along(
    far: FarMachine, chain: Chain, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    far.put_rsctl("""echo "$RSCTL_PLUGINS"; cat "$PYTHONPATH/stripes_plugin/deep/data.txt" """)
    package = chain.folder / "stripes_plugin"
    (package / "deep").mkdir(parents=True)
    (package / "__init__.py").write_text("EXTRAS = []\n")
    (package / "deep" / "data.txt").write_text("taken along")
    settings = chain.folder / "rsctl.toml"
    settings.write_text(f'plugins = ["stripes_plugin"]\n{settings.read_text()}')
    monkeypatch.syspath_prepend(chain.folder)
    assert run(["--at", "far", "status"]) == 0
    assert capfd.readouterr().out == "stripes_plugin\ntaken along"


def test_files_that_it_writes_come_back(far: FarMachine, chain: Chain, capfd: Any) -> None:
    far.put_rsctl("""printf '%s' "<$*>" > "${@: -1}"; echo printed""")
    target = chain.folder / "my table.csv"
    assert run(["--at", "far", "export", "tiny", "-o", str(target)]) == 0
    assert "export tiny -o /" in target.read_text()
    assert capfd.readouterr().out == "printed\n"
    assert not list((far.home / ".local/share/rsctl/remote/outputs").iterdir())
    target.write_text("my own notes")
    assert run(["--at", "far", "export", "tiny", f"--output={target}"]) == 2
    assert "was not written by rsctl" in capfd.readouterr().err
    assert target.read_text() == "my own notes"
    far.put_rsctl("exit 1")
    assert run(["--at", "far", "plot", "tiny", "-o", str(chain.folder / "f.pdf")]) == 1
    assert not (chain.folder / "f.pdf").exists()


def test_ctrl_c_reaches_the_command(far: FarMachine, chain: Chain) -> None:
    far.put_rsctl("trap 'echo interrupted; exit 130' INT; echo started; while :; do sleep 0.05; done")
    for words in (("status",), ("submit", "x.toml")):
        process = started("--at", "far", *words)
        assert process.stdout
        assert process.stdout.readline() == "started\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert process.stdout.read() == "interrupted\n"


def test_on_a_terminal_it_has_one_there(far: FarMachine, chain: Chain) -> None:
    far.put_rsctl("test -t 0 && test -t 1 && echo terminal for $#; exit 7")
    code, shown = on_a_terminal("--at", "far")
    assert code == 7
    assert "terminal for 0\r\n" in shown
    assert "closed" not in shown


def test_ssh_prompts_on_the_terminal_and_logs_in_once(far: FarMachine, chain: Chain) -> None:
    with open(chain.folder / "rsctl.toml", "a") as file:
        file.write('[remotes.locked]\nhost = "locked"\nrsctl = "~/rsctl there"\n')
    far.put_rsctl("echo $1 done")
    code, shown = on_a_terminal("--at", "locked", "status", answers={"Enter passphrase": "secret\n"})
    assert code == 0
    assert "status done" in shown
    assert chain.cli("--at", "locked", "doctor").out == "doctor done\n"  # over the same connection


def test_a_jump_host_of_the_configuration_is_used(far: FarMachine, chain: Chain, capfd: Any) -> None:
    with open(chain.folder / "rsctl.toml", "a") as file:
        file.write('[remotes.behind]\nhost = "behind"\nrsctl = "~/rsctl there"\n')
    far.put_rsctl("echo $SSH_CONNECTION")
    before = far.log.read_text().count("Accepted publickey")
    assert run(["--at", "behind", "status"]) == 0
    assert capfd.readouterr().out.startswith("127.0.0.1 ")
    assert far.log.read_text().count("Accepted publickey") == before + 2


def test_the_dashboard_there_needs_a_terminal(far: FarMachine, chain: Chain) -> None:
    done = chain.cli("--at", "far")
    assert (done.code, done.out) == (3, "")
    assert "needs a terminal" in done.err


def test_a_lost_connection_starts_nothing_twice(far: FarMachine, chain: Chain) -> None:
    far.put_rsctl(
        "echo x >> seen-starts; echo begun; while [ ! -e seen-go ]; do sleep 0.05; done; echo ended; exit 1"
    )
    first = started("--at", "far", "submit", "x.toml")
    assert first.stdout
    assert first.stdout.readline() == "begun\n"
    far.kill(*far.sessions())
    err = first.communicate(timeout=30)[1]
    assert first.returncode == 3
    assert "Repeat it to resume: it is never started twice" in err
    second = started("--at", "far", "submit", "x.toml")
    assert second.stdout
    assert second.stdout.readline() == "begun\n"
    (far.home / "seen-go").touch()
    out, err = second.communicate(timeout=30)
    assert out == "ended\n"
    assert "far: resuming the same command of 20" in err
    assert second.returncode == 1
    assert (far.home / "seen-starts").read_text() == "x\n"
    # Its result has arrived: the same command is a new one now.
    third = started("--at", "far", "submit", "x.toml")
    assert third.communicate(timeout=30)[0] == "begun\nended\n"
    assert (far.home / "seen-starts").read_text() == "x\nx\n"


def test_a_command_that_was_killed_there_is_started_again(far: FarMachine, chain: Chain) -> None:
    far.put_rsctl(
        "echo x >> seen-starts; [ $(wc -l < seen-starts) = 2 ] || { echo begun; sleep 100; }; echo second"
    )
    first = started("--at", "far", "submit", "x.toml")
    assert first.stdout
    assert first.stdout.readline() == "begun\n"
    far.kill(*far.running(b"exec 9>lock"), *far.running(b"rsctl there"), *far.running(b"sleep 100"))
    assert "was killed there" in first.communicate(timeout=30)[1]
    assert first.returncode == 3
    assert started("--at", "far", "submit", "x.toml").communicate(timeout=30)[0] == "second\n"


def test_commands_at_once_share_one_login(far: FarMachine, chain: Chain) -> None:
    far.put_rsctl("sleep 0.2; echo done")
    before = far.log.read_text().count("Accepted publickey")
    several = [started("--at", "far", "status") for _ in range(4)]
    assert [one.communicate(timeout=60)[0] for one in several] == ["done\n"] * 4
    assert far.log.read_text().count("Accepted publickey") == before + 1


def test_without_rsctl_there_the_message_names_setup(far: FarMachine, chain: Chain, capfd: Any) -> None:
    (far.home / "rsctl there").unlink()
    assert run(["--at", "far", "status"]) == 3
    assert "'rsctl remote setup far' installs rsctl there" in capfd.readouterr().err


def test_without_a_connection_ssh_gives_the_reason(far: FarMachine, chain: Chain, capfd: Any) -> None:
    with open(chain.folder / "rsctl.toml", "a") as file:
        file.write('[remotes.gone]\nhost = "127.0.0.1:1"\n')
    assert run(["--at", "gone", "status"]) == 3
    err = capfd.readouterr().err
    assert "gone: no connection to 127.0.0.1:1; ssh names the reason above." in err
    assert "ssh: " in err
