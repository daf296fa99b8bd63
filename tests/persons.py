"""Two users of one machine and the group they share, for attacks and for work together: real processes with user ids of their own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from chain import Finished, tiny, toml

GROUP = 60950


@dataclass(frozen=True)
class Person:
    """A user without an entry in the system's list, whose group is their own beside the shared one."""

    user: int
    folder: Path
    umask: int = 0o002
    group: int = GROUP

    def command(self, words: list[str]) -> list[str]:
        """The command that starts these words as this person, in a view of the file system in which everybody reaches Python."""
        change = ["setpriv", f"--reuid={self.user}", f"--regid={self.user}", f"--groups={self.group}", "--"]
        inner = ["sh", "-c", f'umask {self.umask:03o}; cd "$0" && exec "$@"', str(self.home), *words]
        script = "".join(
            f"mount -t tmpfs none /mnt && mkdir /mnt/upper /mnt/work && mount -t overlay overlay -o "
            f"lowerdir={closed},upperdir=/mnt/upper,workdir=/mnt/work {closed} && chmod o+x {closed} && "
            for closed in _closed()
        )
        return ["unshare", "--mount", "sh", "-c", f'{script} exec "$@"', "sh", *change, *inner]

    @property
    def home(self) -> Path:
        return self.folder / str(self.user)

    def run(self, *words: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
        clean = {"PATH": os.environ["PATH"], "HOME": str(self.home), "OMP_NUM_THREADS": "1"}
        return subprocess.run(
            self.command([str(word) for word in words]), env={**clean, **env}, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip

    def python(self, code: str, **env: str) -> str:
        done = self.run(sys.executable, "-c", code, **env)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def cli(self, *arguments: str | Path, **env: str) -> Finished:
        """The command line in this person's own folder, with their own rsctl.toml."""
        done = self.run(sys.executable, "-m", "rsctl", *arguments, **env)
        assert "Traceback" not in done.stderr + done.stdout, done.stderr
        return Finished(done.returncode, done.stdout, done.stderr)

    def settings(self, store: Path, profile: str = "", shared: str = "") -> None:
        """Their rsctl.toml; `shared` are lines above its profile."""
        file = self.home / "rsctl.toml"
        file.write_text(
            f'store = "{store}"\ndata = "{self.home}/data"\n{shared}\n[profiles.local]\n{profile}\n'
        )
        os.chown(file, self.user, self.user)

    def sweep(self, **changes: object) -> Path:
        file = self.home / "sweep.toml"
        file.write_text(toml(tiny(**changes)))
        os.chown(file, self.user, self.user)
        return file

    def processes(self) -> list[int]:
        found = []
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                if os.stat(f"/proc/{name}").st_uid == self.user:
                    found.append(int(name))
            except OSError:
                continue
        return found

    def end(self) -> None:
        """Kill what is left of this person's processes; nobody else has their number."""
        for _ in range(100):
            if not (found := self.processes()):
                return
            for pid in found:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            time.sleep(0.05)


def _closed() -> list[Path]:
    """The folders that others can't enter, above what Python and rsctl are loaded from."""
    import rsctl

    needed = {
        Path(os.path.realpath(place))
        for place in (sys.executable, sys.prefix, sys.base_prefix, rsctl.__file__)
    }
    above = {folder for path in needed for folder in path.parents}
    return sorted(folder for folder in above if not folder.stat().st_mode & 0o001)


@pytest.fixture
def persons() -> Iterator[tuple[Person, Person]]:
    """Two users and a folder that both see, with a subfolder `shared` that passes their group on."""
    if os.geteuid() != 0:
        pytest.skip("only root can act as two users")
    if not (shutil.which("setpriv") and shutil.which("unshare")):
        pytest.skip("setpriv and unshare (util-linux) aren't installed")
    folder = Path(tempfile.mkdtemp(prefix="rsctl-persons-"))
    folder.chmod(0o755)
    # Of this process alone: another one ends all processes of its persons.
    first = 61_000 + 2 * (os.getpid() % 2_000)
    both = Person(first, folder), Person(first + 1, folder)
    for person in both:
        person.home.mkdir()
        os.chown(person.home, person.user, person.user)
    shared = folder / "shared"
    shared.mkdir()
    os.chown(shared, 0, GROUP)
    shared.chmod(0o2775)
    tried = both[0].run(sys.executable, "-c", "import rsctl, h5py")
    if tried.returncode:
        shutil.rmtree(folder)
        pytest.skip(f"another user can't run this Python: {tried.stderr.strip().splitlines()[-1:]}")
    yield both
    for person in both:
        person.end()
    shutil.rmtree(folder)
