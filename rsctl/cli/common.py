"""Helpers shared by the commands: exit, JSON output and notes on stderr."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

Of = Annotated[
    list[str] | None,
    typer.Option(
        "--of",
        metavar="USER",
        help="In a shared store: also change what this user submitted. May be repeated.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]


def leave(code: int) -> None:
    """Exit the command with this code."""
    if code:
        raise typer.Exit(code)


def show(markdown: str) -> None:
    """Print a text; on a terminal its tables are fitted to the width."""
    from rsctl.report.tables.terminal import fitted

    if sys.stdout.isatty():
        markdown = fitted(markdown, shutil.get_terminal_size().columns)
    print(markdown, end="")


def tell(notes: Sequence[str]) -> None:
    """Print notes on stderr."""
    from rsctl.plain import printable

    for note in notes:
        print(f"note: {printable(note)}", file=sys.stderr)


def loudly(broken: Sequence[Any]) -> int:
    """Report certificates that an attack broke on stderr, in every output format; returns 1 if there are any."""
    if not broken:
        return 0
    from rsctl.results.contradictions import describe_contradictions

    for line in describe_contradictions(broken):
        print(f"rsctl: BROKEN CERTIFICATE: {line}", file=sys.stderr)
    return 1
