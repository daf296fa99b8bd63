"""`rsctl --at NAME COMMAND …`: a command on another machine, as if it ran here."""

from __future__ import annotations

import os
import secrets
import shlex
import subprocess
import sys
from collections.abc import Sequence

from rsctl.config.settings import Place
from rsctl.errors import UnavailableError
from rsctl.remote.carried import CarriedCommand, carry
from rsctl.remote.command_line import CommandParameter
from rsctl.remote.connection import LOST, NO_COMMAND, Connection, LostError, marked
from rsctl.remote.detached import claimed
from rsctl.remote.foreground import wait_for
from rsctl.remote.outputs import bring, require_writable

SUBMITTING = ("submit", "certify", "attack", "retry")
"""Commands that start tasks: they are claimed, and a lost connection doesn't end them."""


def run_at(place: Place, name: str, words: Sequence[str], parameters: Sequence[CommandParameter]) -> int:
    """Run a command on a remote, or its dashboard if there are no words; returns the exit code.

    Raises
    ------
    UnavailableError
        There is no connection, or no rsctl there.
    """
    connection = Connection(name, place.settings.remote(name))
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    if not words and not terminal:
        raise UnavailableError("the dashboard needs a terminal. 'rsctl --help' lists what works without one.")
    connection.open()
    token = secrets.token_hex(16)
    folder = f"{connection.base}/outputs/{token}"
    command = carry(connection, place, words, parameters, folder)
    require_writable(command.outputs, force="--force" in words)
    lines = [connection.environment(command.plugins, command.packages)]
    if words and words[0] in SUBMITTING:
        code = claimed(
            connection, "\n".join([*lines, f'exec "$rsctl" {shlex.join(command.words)}']), words
        ).run()
    else:
        made = [f"mkdir -p {shlex.quote(f'{folder}/{number}')}" for number in range(len(command.outputs))]
        code = _follow(connection, [*made, *lines], command, terminal, token)
    if code == NO_COMMAND:
        raise connection.no_command()
    if code == 0 and command.outputs:
        bring(connection, folder, command.outputs, force="--force" in words)
    return code


def _follow(
    connection: Connection, lines: list[str], command: CarriedCommand, terminal: bool, token: str
) -> int:
    """Run the command in the foreground; its input and output are this process's own."""
    pids = shlex.quote(f"{connection.base}/pids")
    pid = f"{pids}/{token}"
    if terminal and (colours := os.environ.get("COLORTERM")):
        lines = [*lines, f"export COLORTERM={shlex.quote(colours)}"]
    script = "\n".join([
        f"mkdir -p {pids}; find {pids} {pids}/../outputs -mindepth 1 -maxdepth 1 -mtime +30 -exec rm -rf {{}} + 2>/dev/null", f"echo $$ >{pid}", *lines, f'exec "$rsctl" {shlex.join(command.words)}',
    ])  # fmt: skip
    # Without a terminal there, Ctrl+C must not reach ssh, and what it doesn't reach can't read from the terminal.
    if terminal:
        code = wait_for(connection.start(script, stdin=None, stdout=None, terminal=True))
    else:
        script, mark = marked(script)
        stdin = subprocess.DEVNULL if sys.stdin.isatty() else None
        code = wait_for(
            connection.start(script, stdin=stdin, apart=True), mark, lambda: _interrupt(connection, pid)
        )
    if code == LOST:
        raise LostError(f"{connection.name}: the connection was lost. Repeat the command.")
    return code


def _interrupt(connection: Connection, pid: str) -> None:
    connection.output(f'kill -INT "$(cat {pid})" || true')
