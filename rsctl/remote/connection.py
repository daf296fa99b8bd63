"""One connection to another machine: OpenSSH's own client, one login for all commands (ControlMaster).

Everything about keys, agents, jump hosts and second factors is left to the user's ssh configuration, which is never read here.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import os
import secrets
import shlex
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import BinaryIO, cast

from rsctl.config.remotes import Remote
from rsctl.errors import InputError, RefusedError, UnavailableError
from rsctl.plain import plain

LOST = 255
"""Exit code of ssh itself: no connection, or one that was lost."""
NO_COMMAND = 127
"""Exit code of a shell for a command that doesn't exist."""
PERSIST = 600
"""Seconds for which an idle connection stays open."""
_OPTIONS = (
    "-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=4", "-o", "ClearAllForwardings=yes", "-o", "RemoteCommand=none",
)  # fmt: skip
_LONGEST_SOCKET = 85
"""ssh appends 17 characters to a socket's path, which has at most 107."""
_LONGEST_COMMAND = 120_000
"""Linux takes at most 128 KiB for one argument."""
MOST_OUTPUT = 64 << 20
"""Most bytes that are read of a command's output."""
BASE = '"${XDG_DATA_HOME:-$HOME/.local/share}/rsctl/remote"'
"""The folder of rsctl's own files there, as a word of a shell script."""


class LostError(UnavailableError):
    """The connection could not be made, or was lost."""


def shell_path(path: str) -> str:
    """A path there as one word of a shell script; a leading `~/` is the home folder."""
    if path == "~" or path.startswith("~/"):
        return '"$HOME"' + shlex.quote(path[1:])
    return shlex.quote(path)


def wrapped(script: str) -> str:
    """A script as a command line that every login shell passes on unchanged: no character of it is special to any."""
    command = f"sh -c 'eval \"$(printf %s {base64.b64encode(script.encode()).decode()} | base64 -d)\"'"
    if len(command) > _LONGEST_COMMAND:
        raise InputError(
            f"the command line has {len(script):,} characters, more than can be passed on. Give fewer arguments, or name a folder."
        )
    return command


def marked(script: str) -> tuple[str, bytes]:
    """The script with a line that it prints first, and that line: what the login shell's own files print comes before it."""
    mark = secrets.token_hex(16)
    return f"printf '%s\\n' {mark}\n{script}", mark.encode() + b"\n"


@dataclass(frozen=True)
class Connection:
    """A remote of rsctl.toml."""

    name: str
    remote: Remote

    @cached_property
    def socket(self) -> Path:
        """The socket of the connection that all commands share."""
        key = hashlib.sha256(f"{self.name}\0{self.remote.host}".encode()).hexdigest()[:16]
        return runtime_folder() / f"ssh-{key}"

    def open(self) -> None:
        """Log in, unless a connection is open; ssh prompts on the terminal.

        Raises
        ------
        LostError
            ssh could not connect; it has printed why.
        """
        with _locked(self.socket.with_suffix(".lock")):
            if self._ssh("-O", "check", "--", self.remote.host, stderr=subprocess.DEVNULL) == 0:
                return
            self.socket.unlink(missing_ok=True)
            sys.stderr.flush()
            code = self._ssh("-M", "-N", "-f", "-o", f"ControlPersist={PERSIST}", "--", self.remote.host)
        if code:
            raise LostError(
                f"{self.name}: no connection to {self.remote.host}; ssh names the reason above. 'ssh {self.remote.host}' has to work first: "
                "its configuration is used as it is."
            )

    def _ssh(self, *words: str, stderr: int | None = None) -> int:
        command = ["ssh", *_OPTIONS, "-S", str(self.socket), *words]
        try:
            return subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stderr
            ).returncode
        except FileNotFoundError as error:
            raise _no_client() from error

    def command(self, script: str, *, terminal: bool = False) -> list[str]:
        """The words that run a shell script there; with `terminal`, on a terminal of its own."""
        # Without the level, ssh ends each command on a terminal with "Shared connection … closed."
        mode = ["-tt", "-o", "LogLevel=ERROR"] if terminal else ["-T"]
        return [
            "ssh", *_OPTIONS, "-S", str(self.socket), "-o", "ControlMaster=no", *mode, "--", self.remote.host, wrapped(script),
        ]  # fmt: skip

    def start(self, script: str, *, stdin: int | None = subprocess.DEVNULL, stdout: int | None = subprocess.PIPE,
              stderr: int | None = None, terminal: bool = False, apart: bool = False) -> subprocess.Popen[bytes]:  # fmt: skip
        """Start a script there; `apart` keeps the terminal's Ctrl+C from its local process."""
        try:
            return subprocess.Popen(
                self.command(script, terminal=terminal), stdin=stdin, stdout=stdout, stderr=stderr,
                start_new_session=apart,
            )  # fmt: skip
        except FileNotFoundError as error:
            raise _no_client() from error

    def output(self, script: str, *, feed: Callable[[BinaryIO], None] | None = None) -> str:
        """The output of a script there, which must succeed; `feed` writes its input.

        Raises
        ------
        LostError
            The connection was lost.
        UnavailableError
            The script failed; it has printed why.
        """
        with tempfile.TemporaryFile() as file:
            self.download(script, file, MOST_OUTPUT, feed=feed)
            file.seek(0)
            return file.read().decode("utf-8", "replace")

    def download(
        self, script: str, file: BinaryIO, most: int, *, feed: Callable[[BinaryIO], None] | None = None
    ) -> None:
        """Write the output of a script there to a file; raises as `output` does, and RefusedError above `most` bytes."""
        script, mark = marked(script)
        stdin = subprocess.PIPE if feed else subprocess.DEVNULL
        started = self.start(script, stdin=stdin, stderr=subprocess.PIPE)
        reporting = threading.Thread(target=_report, args=(started,), daemon=True)
        reporting.start()
        try:
            if feed and started.stdin:
                with suppress(BrokenPipeError):  # it ended early, and its exit code is reported
                    feed(cast(BinaryIO, started.stdin))
                with suppress(BrokenPipeError):
                    started.stdin.close()
            assert started.stdout
            _copy_after(mark, started.stdout.fileno(), file, most, self.name)
            code = started.wait()
        finally:
            if started.poll() is None:
                started.terminate()
                started.wait()
            reporting.join(5)
        if code:
            raise self.failure(code)

    def failure(self, code: int) -> UnavailableError:
        """The error for the exit code of a script."""
        if code == LOST:
            return LostError(f"{self.name}: the connection was lost. Repeat the command.")
        if code == NO_COMMAND:
            return self.no_command()
        return UnavailableError(
            f"{self.name}: a command there ended with exit code {code}; the reason is above."
        )

    def no_command(self) -> UnavailableError:
        """The error for a remote without rsctl."""
        return UnavailableError(
            f"{self.name}: there is no {self.remote.rsctl}. 'rsctl remote setup {self.name}' installs rsctl there; if it is elsewhere, set "
            f"remotes.{self.name}.rsctl in rsctl.toml."
        )

    @cached_property
    def base(self) -> str:
        """The absolute path of the folder of rsctl's own files there, which is created."""
        found = self.output(f"mkdir -p {BASE}/files && cd {BASE} && chmod 700 . && pwd -P").rstrip("\n")
        if not found.startswith("/") or "\n" in found:
            raise UnavailableError(
                f"{self.name}: 'pwd' printed {plain(found, 100)!r} there, which isn't a folder."
            )
        return found

    def environment(self, plugins: str = "", packages: str = "") -> str:
        """Shell lines that prepare for rsctl: the remote's `setup`, its store, and plugins that were taken along."""
        lines = [f"{{ {line}\n}} >&2" for line in self.remote.setup]
        if self.remote.store:
            lines.append(f"export RSCTL_STORE={shell_path(self.remote.store)}")
        if plugins:
            lines.append(f"export RSCTL_PLUGINS={shlex.quote(plugins)}")
            lines.append(f"export PYTHONPATH={shlex.quote(packages)}${{PYTHONPATH:+:$PYTHONPATH}}")
        lines.append(f"rsctl={shell_path(self.remote.rsctl)}")
        lines.append(f'command -v "$rsctl" >/dev/null || exit {NO_COMMAND}')
        return "\n".join(lines)


def _copy_after(mark: bytes, source: int, file: BinaryIO, most: int, name: str) -> None:
    head, size = b"", 0
    while chunk := os.read(source, 1 << 16):
        if mark:
            head += chunk
            _, found, chunk = head.partition(mark)
            if not found:
                head = head[-(1 << 16) :]
                continue
            mark = b""
        size += len(chunk)
        if size > most:
            raise RefusedError(
                f"{name}: it sends more than {most:,} bytes, which is more than belongs here. Nothing was kept."
            )
        file.write(chunk)


def _report(process: subprocess.Popen[bytes]) -> None:
    """Pass on the messages of ssh and of the other side, without their control sequences."""
    assert process.stderr
    for line in iter(partial(process.stderr.readline, 10_000), b""):
        print(plain(line.decode("utf-8", "replace").rstrip("\n")), file=sys.stderr)


def _no_client() -> UnavailableError:
    return UnavailableError("ssh isn't installed here. Install OpenSSH's client (Debian: openssh-client).")


def runtime_folder() -> Path:
    """The private folder of sockets and locks: below XDG_RUNTIME_DIR, else in /tmp.

    Raises
    ------
    RefusedError
        It belongs to another user, or others can enter it.
    """
    given = os.environ.get("XDG_RUNTIME_DIR", "")
    folder = Path(given) / "rsctl" if os.path.isdir(given) else Path("/")
    if len(str(folder)) > _LONGEST_SOCKET - 21 or "%" in str(folder) or folder == Path("/"):
        folder = Path("/tmp") / f"rsctl-{os.geteuid()}"
    folder.mkdir(0o700, exist_ok=True)
    found = os.lstat(folder)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise RefusedError(
            f"{folder}: must be a folder that only you can enter, for whoever reaches the sockets in it reaches your remotes. Remove it."
        )
    return folder


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    """Hold a lock: of two processes that connect at once, the second uses the connection of the first."""
    with open(file, "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
