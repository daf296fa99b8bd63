"""A real sshd on loopback with a user of its own behind it: another machine, as far as the client can see."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from persons import _closed

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
USER = f"rsctl-far-{os.getpid()}"
"""Each process of a test run has a machine and a user of its own."""


def reason_to_skip() -> str:
    """The reason why no sshd with a user of its own can be started here; empty if it can."""
    if not (SSHD and shutil.which("ssh") and shutil.which("ssh-keygen")):
        return "OpenSSH isn't installed (Debian: openssh-server, openssh-client)"
    if os.geteuid() != 0:
        return "only root can add the user on the other side"
    if not all(map(shutil.which, ("useradd", "userdel", "unshare", "flock", "setsid"))):
        return "useradd and util-linux aren't installed"
    return ""


def entered(words: list[str]) -> list[str]:
    """The command in a view of the file system in which everybody reaches this Python: it may lie in a folder that only root can enter."""
    view = "".join(
        f"mount -t tmpfs none /mnt && mkdir /mnt/upper /mnt/work && mount -t overlay overlay -o "
        f"lowerdir={closed},upperdir=/mnt/upper,workdir=/mnt/work {closed} && chmod o+x {closed} && "
        for closed in _closed()
    )
    return ["unshare", "--mount", "sh", "-c", f'{view} exec "$@"', "sh", *words]


def pip_settings() -> list[str]:
    """Shell lines with the settings by which pip finds its index in this process."""
    return [
        f"export {name}='{value}'"
        for name, value in os.environ.items()
        if name.startswith(("PIP_", "SSL_CERT"))
    ]


class FarMachine:
    """A running sshd; `client` is the folder to put first on PATH, so that `ssh` knows the host `cluster`."""

    def __init__(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="rsctl-ssh-", dir="/tmp"))
        self.root.chmod(0o755)
        self.home, self.client = self.root / "far home", self.root / "client"
        self.log = self.root / "sshd.log"
        self.process: subprocess.Popen[bytes] | None = None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]

    def start(self) -> None:
        added = ["useradd", "-M", "-d", str(self.home), "-s", "/bin/bash", "-p", "*", USER]
        for _ in range(50):  # another process of the test run may hold the list of users
            if subprocess.run(added, capture_output=True).returncode == 0:
                break
            time.sleep(0.1)
        else:
            pytest.skip("no user can be added here")
        self.user = pwd.getpwnam(USER).pw_uid
        for folder in (self.home, self.home / ".ssh"):
            folder.mkdir(mode=0o755)
        self.client.mkdir()
        for name, phrase in (("host", ""), ("key", ""), ("locked", "secret")):
            subprocess.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", phrase, "-f", str(self.root / name)], check=True
            )
        self._configure()
        for path in (self.home, *self.home.rglob("*")):
            os.chown(path, self.user, -1)
        Path("/run/sshd").mkdir(exist_ok=True)
        self.start_sshd()

    def start_sshd(self) -> None:
        self.process = subprocess.Popen(
            entered([str(SSHD), "-D", "-f", str(self.root / "sshd_config"), "-E", str(self.log)])
        )
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        pytest.skip(f"sshd doesn't start here: {self.log.read_text()[-500:] if self.log.exists() else ''}")

    def _configure(self) -> None:
        root = self.root
        public = "".join((root / f"{name}.pub").read_text() for name in ("key", "locked"))
        (self.home / ".ssh" / "authorized_keys").write_text(public)
        # A shell that greets even where nobody reads it.
        (self.home / ".bashrc").write_text("echo 'Welcome to \x1b[31mfar\x1b[0m'\n")
        (root / "sshd_config").write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {root}/host\nPidFile {root}/sshd.pid\nUsePAM no\nStrictModes no\n"
            "PasswordAuthentication no\nMaxStartups 100\nMaxSessions 50\nSetEnv OMP_NUM_THREADS=1\n"
        )
        host = (root / "host.pub").read_text()
        (root / "known").write_text(f"[127.0.0.1]:{self.port} {host}")
        (self.client / "config").write_text(
            f"Host locked\nIdentityFile {root}/locked\nHost cluster behind\nIdentityFile {root}/key\nHost behind\nProxyJump cluster\n"
            f"Host locked cluster behind\nHostName 127.0.0.1\nPort {self.port}\nUser {USER}\nIdentitiesOnly yes\n"
            f"UserKnownHostsFile {root}/known\nStrictHostKeyChecking yes\nIdentityAgent none\n"
        )
        wrapper = self.client / "ssh"
        wrapper.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F "{self.client}/config" "$@"\n')
        wrapper.chmod(0o755)
        self.put_rsctl(f'exec {sys.executable} -m rsctl "$@"')

    def put_rsctl(self, script: str) -> None:
        """Put a shell script in the place of rsctl there."""
        tool = self.home / "rsctl there"
        tool.write_text(f"#!/bin/bash\n{script}\n")
        tool.chmod(0o755)

    def processes(self) -> list[int]:
        """The living processes of the user there."""
        found = []
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                state = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()[0]
                if os.stat(f"/proc/{name}").st_uid == self.user and state != "Z":
                    found.append(int(name))
            except OSError:
                continue
        return found

    def running(self, part: bytes) -> list[int]:
        """The processes of the user there whose command line contains this."""
        found = []
        for pid in self.processes():
            try:
                if part in Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" "):
                    found.append(pid)
            except OSError:
                continue
        return found

    def kill(self, *pids: int) -> None:
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue

    def sessions(self) -> list[int]:
        """The sshd processes that serve a login, of root and of the user."""
        found = []
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                title = Path(f"/proc/{name}/cmdline").read_bytes()
            except OSError:
                continue
            if re.match(rb"sshd: %s\b(?!-)" % USER.encode(), title):
                found.append(int(name))
        return found

    def clean(self) -> None:
        """Kill what runs there, and remove what rsctl has put there."""
        self.kill(*self.sessions())
        for _ in range(100):
            if not (found := self.processes()):
                break
            self.kill(*found)
            time.sleep(0.02)
        for name in (".local", ".cache", "results"):
            shutil.rmtree(self.home / name, ignore_errors=True)
        for path in self.home.glob("seen*"):
            path.unlink()
        self.put_rsctl(f'exec {sys.executable} -m rsctl "$@"')

    def stop(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()
        self.kill(*self.sessions())
        if hasattr(self, "user"):
            self.clean()
        subprocess.run(["userdel", USER], capture_output=True)
        shutil.rmtree(self.root, ignore_errors=True)
