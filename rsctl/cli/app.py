"""The command line: one app, with the commands in the order that its help lists them.

A command is a few lines in a module `cli_…` beside this one that call a room below; rooms are imported when they are needed.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from rsctl.cli.checkpoint import attack, certify, predict
from rsctl.cli.completion import completed
from rsctl.cli.data import data_check, data_prepare
from rsctl.cli.explain import explain, help_, schema
from rsctl.cli.machine import bench, data_fetch, data_list, doctor
from rsctl.cli.mirror import mirror
from rsctl.cli.model import model_fetch
from rsctl.cli.package import pack, unpack, verify
from rsctl.cli.page import report
from rsctl.cli.prune import prune
from rsctl.cli.remote import pull, remote_check, remote_list, remote_setup
from rsctl.cli.report import compare, export, import_, plot, reproduce
from rsctl.cli.serve import serve
from rsctl.cli.sweep import check, new, submit, templates
from rsctl.cli.tasks import cancel, logs, retry, status, task
from rsctl.cli.tune import tune
from rsctl.errors import InputError, UnavailableError, UserError

app = typer.Typer(
    name="rsctl", help="Randomized smoothing from the terminal: train, certify, watch, tabulate.",
    add_completion=True, no_args_is_help=False, pretty_exceptions_enable=False, rich_markup_mode=None,
)  # fmt: skip
data_app = typer.Typer(
    help="Data sets: list them, check their files, download and prepare them.",
    rich_markup_mode=None,
)
app.add_typer(data_app, name="data")
model_app = typer.Typer(help="Published weights of libraries.", rich_markup_mode=None)
app.add_typer(model_app, name="model")
remote_app = typer.Typer(
    help="Other machines, over SSH: list them, install rsctl there, check them.", rich_markup_mode=None
)
app.add_typer(remote_app, name="remote")

_WRONG_USE: type[Exception] = typer.BadParameter.__mro__[2]
"""Exceptions of the parser: click's ClickException, of which typer may have its own copy."""


def run(arguments: Sequence[str]) -> int:
    """Run a command; returns the exit code: 0 done, 1 a run failed, 2 invalid input, 3 environment not ready."""
    try:
        if arguments and arguments[0].partition("=")[0] == "--at":
            from rsctl.cli.remote import at

            return at(app, arguments)
        left = app(list(arguments), prog_name="rsctl", standalone_mode=False)
        return left if isinstance(left, int) else 0
    except _WRONG_USE as error:
        from rsctl.cli.usage import usage

        print(f"rsctl: {usage(error)}", file=sys.stderr)
        return 2
    except SystemExit as leaving:
        if isinstance(leaving.__context__, BrokenPipeError):
            return 0  # the reader of our output closed the pipe, as 'head' does
        return leaving.code if isinstance(leaving.code, int) else 0
    except UserError as error:
        print(f"rsctl: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        # Errors not handled below: a failing disk, a folder without read permission.
        where = f"{error.filename}: " if error.filename else ""
        from rsctl.owners import denied

        why = (
            denied(Path(error.filename)) if error.errno == errno.EACCES and error.filename else error.strerror
        )
        print(f"rsctl: {where}{why or error}", file=sys.stderr)
        return 3


@app.callback(invoke_without_command=True)
def dashboard(
    context: typer.Context,
    at: Annotated[
        str,
        typer.Option(
            "--at",
            metavar="NAME",
            help="Run the command that follows on a remote of rsctl.toml; without one, its dashboard.",
        ),
    ] = "",
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """Open the dashboard when no command is given."""
    if at:
        raise InputError(f"--at: must come first: rsctl --at {at} COMMAND.")
    if version:
        from rsctl import __version__

        print(__version__)
        raise typer.Exit(0)
    if context.invoked_subcommand is None:
        if not all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr)):
            raise UnavailableError(
                "the dashboard needs a terminal. 'rsctl --help' lists what works without one."
            )
        from rsctl.tui.app import make_app

        make_app().run()


for command in (
    templates, new, explain, check, submit, status, logs, cancel, retry, export, import_, compare, tune, reproduce, plot, report,
    pack, unpack, verify, pull, mirror, bench, doctor, task, certify, predict, attack, prune, serve, schema, help_,
):  # fmt: skip
    app.command(command.__name__.rstrip("_"))(completed(command))
data_app.command("list")(data_list)
data_app.command("fetch")(completed(data_fetch))
data_app.command("check")(completed(data_check))
data_app.command("prepare")(completed(data_prepare))
model_app.command("fetch")(completed(model_fetch))
remote_app.command("list")(remote_list)
remote_app.command("setup")(completed(remote_setup))
remote_app.command("check")(completed(remote_check))
