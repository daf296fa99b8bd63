"""Other machines: `rsctl --at NAME …`, remote and pull."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_type_hints

import typer

from rsctl.cli.common import AsJson, leave
from rsctl.errors import InputError
from rsctl.text import counted

if TYPE_CHECKING:
    from rsctl.remote.command_line import CommandParameter
    from rsctl.remote.pull import Pulled

RemoteName = Annotated[str, typer.Argument(metavar="NAME", help="A remote: [remotes.NAME] of rsctl.toml.")]


def at(app: typer.Typer, arguments: Sequence[str]) -> int:
    """Run `--at NAME COMMAND …`; the command's own options are left to the other side. Returns the exit code."""
    from rsctl.config.settings import load_settings
    from rsctl.remote.at import run_at

    _, equals, name = arguments[0].partition("=")
    words = list(arguments[1:])
    if not equals:
        if not words:
            raise InputError("--at: requires a value. 'rsctl remote list' lists the remotes.")
        name = words.pop(0)
    return run_at(load_settings(), name, words, _parameters(app, words))


def _parameters(app: typer.Typer, words: Sequence[str]) -> list[CommandParameter]:
    """The parameters of a command; none for those of a group, whose arguments are names, and for unknown ones."""
    from rsctl.remote.command_line import CommandParameter

    group: Any = typer.main.get_command(app)
    command = group.commands.get(words[0]) if words else None
    if command is None or hasattr(command, "commands"):
        return []
    callback = next(one.callback for one in app.registered_commands if one.name == words[0])
    # Typer's parameters have no type of their own in every version.
    hints = get_type_hints(callback, include_extras=True)
    return [
        CommandParameter(
            options=(*one.opts, *one.secondary_opts) if one.param_type_name == "option" else (),
            takes_value=not getattr(one, "is_flag", False),
            is_path=_mentions(hints.get(one.name), Path),
            repeated=one.nargs == -1,
        )
        for one in command.params
    ]


def _mentions(hint: Any, kind: type) -> bool:
    return hint is kind or any(_mentions(part, kind) for part in get_args(hint))


def remote_list(as_json: AsJson = False) -> None:
    """List the remotes of rsctl.toml."""
    from rsctl.config.settings import load_settings

    remotes = load_settings().settings.remotes
    if as_json:
        print(json.dumps({name: one.model_dump() for name, one in remotes.items()}, indent=1))
    for name, one in {} if as_json else sorted(remotes.items()):
        print(f"{name:16} {one.host}{f', store {one.store}' if one.store else ''}, {one.rsctl}")
    if not remotes and not as_json:
        print("no remotes in rsctl.toml. 'rsctl help remotes' has an example.")


def remote_setup(name: RemoteName) -> None:
    """Install this version of rsctl on a remote, in an environment of its own. Safe to repeat."""
    from rsctl.config.settings import load_settings
    from rsctl.remote.connection import Connection
    from rsctl.remote.install import install, link_path

    remote = load_settings().settings.remote(name)
    connection = Connection(name, remote)
    install(connection)
    if made := link_path(remote, connection):
        print(
            f"{name}: installed as {made}; rsctl.toml names {remote.rsctl}. Remove remotes.{name}.rsctl to use the new one."
        )
    else:
        _print_installed(connection)


def remote_check(name: RemoteName) -> None:
    """Connect to a remote, and print the version and the store of its rsctl."""
    from rsctl.config.settings import load_settings
    from rsctl.remote.connection import Connection

    connection = Connection(name, load_settings().settings.remote(name))
    leave(0 if _print_installed(connection) else 3)


def pull(
    name: RemoteName,
    sweeps: Annotated[list[str], typer.Argument(metavar="SWEEP…", help="Sweeps there.")],
    watch: Annotated[
        bool, typer.Option("--watch", help="Pull again until no task there is open any more, or Ctrl+C.")
    ] = False,
    every: Annotated[
        float, typer.Option("--every", min=1, help="With --watch: seconds between two pulls.")
    ] = 30,
) -> None:
    """Bring tables, curves and logs of sweeps on a remote into the store here; only what is new is sent. Safe to repeat."""
    from rsctl.config.settings import load_settings
    from rsctl.remote.connection import Connection, LostError
    from rsctl.remote.pull import pull as bring

    place = load_settings()
    connection = Connection(name, place.settings.remote(name))
    following, shown = list(sweeps), dict[str, str]()
    while following:
        try:
            connection.open()
            for sweep in list(following):
                found = bring(connection, place, sweep)
                if shown.get(sweep) != (line := _described(found)):
                    print(line, flush=True)
                shown[sweep] = line
                if not (watch and found.is_open):
                    following.remove(sweep)
        except LostError as error:
            if not (watch and shown):
                raise
            print(f"rsctl: {error}", file=sys.stderr)
        if following:
            time.sleep(every)


def _described(found: Pulled) -> str:
    states = ", ".join(f"{number} {state}" for state, number in found.record["states"].items())
    return (
        f"{found.sweep}: {states or 'imported logs'} on {found.record['remote']}; "
        f"{counted(found.changed, 'folder')} new or changed, {found.bytes / 1e6:,.2f} MB"
    )


def _print_installed(connection: Any) -> bool:
    """Print the rsctl of a remote; returns whether it is of this version."""
    from rsctl import __version__
    from rsctl.remote.install import installed

    found = installed(connection)
    print(
        f"{connection.name}: rsctl {found.version}, store {found.store} with {counted(found.sweeps, 'sweep')}"
    )
    if found.version == __version__:
        return True
    print(
        f"This is rsctl {__version__}: 'rsctl remote setup {connection.name}' installs the same version there."
    )
    return False
