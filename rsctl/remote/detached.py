"""Commands that go on without the connection: each is claimed by an id on the other side before it starts, and followed from here.

The id is made and kept on this machine until the result has arrived. Whoever repeats the command after a lost connection follows
the command that runs already, or gets the result that it had: it is never started twice.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shlex
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from rsctl.remote.connection import LOST, Connection, LostError, marked
from rsctl.remote.foreground import wait_for
from rsctl.store.files import publish

_KEPT = 24 * 3600.0
"""Seconds after which a command whose result never arrived is no longer resumed, but started as a new one."""
KILLED = 254
"""Exit code of following a command that was killed."""
_RUNNER = """\
exec 9>lock
flock -w 5 9 || exit 0
[ ! -e code ] || exit 0
sh ./script >out 2>err </dev/null
echo $? >code.new && mv code.new code
"""
"""Run by one process at a time, in a session of its own. The lock is released when it dies, so that the next one goes on."""
_START = """\
find . -mindepth 1 -maxdepth 1 -mtime +30 -exec rm -rf {{}} +
mkdir -p {claim} && cd {claim} || exit 1
[ -e script ] || {{ cat >"script.$$" <<'{mark}'
echo $$ >pid
cd || exit 1
{script}
{mark}
mv "script.$$" script; }}
[ -e code ] || {{ : >>out; : >>err; setsid -f sh -c {runner} >/dev/null 2>&1 </dev/null; }}
"""
_FOLLOW = """\
until [ -e code ] || ! flock -n lock true; do
  tries=$((${tries:-0} + 1)); [ $tries -lt 100 ] || exit %d; sleep 0.1
done
( while [ ! -e code ] && ! flock -n lock true; do sleep 0.1; done ) & watch=$!
trap 'kill $watch 2>/dev/null; exit 1' HUP INT TERM PIPE
tail -s 0.1 --pid=$watch -c +1 -f out & tail -s 0.1 --pid=$watch -c +1 -f err >&2 & wait
[ -e code ] || exit %d
exit "$(cat code)"
"""


@dataclass(frozen=True)
class ClaimedCommand:
    """A command with the id under which it runs on the other side."""

    connection: Connection
    script: str
    id: str
    record: Path
    """The file here that keeps the id until the result has arrived."""

    def run(self) -> int:
        """Start the command, or follow the one that this id has started; returns its exit code.

        Raises
        ------
        LostError
            The connection was lost, or the command was killed; to repeat it is safe.
        """
        script, mark = marked(self._start() + _FOLLOW % (KILLED, KILLED))
        code = wait_for(self.connection.start(script, apart=True), mark, self._interrupt)
        if code in (LOST, KILLED, -15):
            why = (
                "was killed there before it ended"
                if code == KILLED
                else "goes on there if it had started, but the connection was lost"
            )
            raise LostError(
                f"{self.connection.name}: the command {why}. Repeat it to resume: it is never started twice, and nothing is submitted twice."
            )
        # Of two terminals with the same command, the second to end must not remove the record of a command begun since.
        with suppress(FileNotFoundError):
            if self.record.read_bytes().startswith(self.id.encode()):
                self.record.unlink()
        return code

    def _start(self) -> str:
        mark = f"end-{secrets.token_hex(16)}"
        start = _START.format(claim=self.id, mark=mark, script=self.script, runner=shlex.quote(_RUNNER))
        return f"cd {self._folder} || exit 1\n{start}"

    @property
    def _folder(self) -> str:
        claims = shlex.quote(f"{self.connection.base}/claims")
        return f'"$(mkdir -p {claims} && cd {claims} && pwd)"'

    def _interrupt(self) -> None:
        folder = shlex.quote(f"{self.connection.base}/claims/{self.id}")
        self.connection.output(f'kill -INT "$(cat {folder}/pid)" || true')


def claimed(connection: Connection, script: str, words: Sequence[str]) -> ClaimedCommand:
    """The command with its id: that of the same command if its result never arrived here, else a new one."""
    identity = json.dumps([connection.name, connection.remote.model_dump(), script])
    file = _records() / f"{connection.name}-{hashlib.sha256(identity.encode()).hexdigest()[:32]}"
    for _ in range(10):
        with suppress(FileNotFoundError):
            if time.time() - file.stat().st_mtime > _KEPT:
                file.unlink()
        text = f"{secrets.token_hex(16)}\n{shlex.join(words)}\n"
        created = publish(file, text.encode("utf-8", "surrogateescape"), 0o600)
        try:
            found, begun = re.match(rb"[0-9a-f]{32}\n", file.read_bytes()), file.stat().st_mtime
        except FileNotFoundError:
            continue  # the same command got its result just now
        if found:
            break
        file.unlink(missing_ok=True)
    else:
        raise LostError(f"{file}: can't be kept. Remove it.")
    if not created:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(begun))
        print(
            f"{connection.name}: resuming the same command of {when}, whose result hasn't arrived here.",
            file=sys.stderr,
        )
    return ClaimedCommand(connection, script, found[0].decode().strip(), file)


def _records() -> Path:
    home = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return Path(home) / "rsctl" / "submissions"
