"""Commands for sweep files: templates, new, check and submit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from rsctl.cli.common import AsJson, Of, leave
from rsctl.cli.submit import submit_sweep
from rsctl.errors import InputError

SweepFile = Annotated[Path, typer.Argument(metavar="SWEEP.toml", help="The sweep file.")]
NAME = 27
"""Width of a template's name in a listing."""


def templates(
    runs_here: Annotated[
        bool,
        typer.Option(
            "--runs-here",
            help="List those that this machine can run within a day (data present, no GPU needed), and what the others lack.",
        ),
    ] = False,
) -> None:
    """List the sweep files that can be used as templates, by paper and by the machine that they need."""
    from rsctl.config.templates import grouped

    if runs_here:
        _runs_here()
        return
    blocks = [
        "\n".join([heading, *(f"  {one.name:{NAME}} {one.entry}" for one in group)])
        for heading, group in grouped().items()
    ]
    print("\n\n".join(blocks))


def _runs_here() -> None:
    from rsctl.config.settings import load_settings
    from rsctl.plain import printable
    from rsctl.plan.runs_here import fits

    found = fits(load_settings())
    print("Runs here")
    for fit in found:
        if not fit.obstacle:
            print(
                f"  {fit.template.name:{NAME}} {fit.template.entry}{f'; here {fit.time}' if fit.time else ''}"
            )
    print("\nDoesn't run here")
    for fit in found:
        if fit.obstacle:
            print(f"  {fit.template.name:{NAME}} {printable(fit.obstacle)}")


def new(
    template: Annotated[
        str, typer.Argument(metavar="TEMPLATE", help="Name of a template; 'rsctl templates' lists them.")
    ],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="File to write; by default TEMPLATE.toml in the current folder."),
    ] = None,
) -> None:
    """Copy a template to a new sweep file. Never overwrites one."""
    from rsctl.config.templates import find_template
    from rsctl.store.files import publish

    file = output or Path(f"{template}.toml")
    if not publish(file, find_template(template).text.encode()):
        raise InputError(f"{file}: exists already. Choose another name with -o.")
    print(f"{file}: edit it, then 'rsctl check {file}' and 'rsctl submit {file}'.")


def check(file: SweepFile, as_json: AsJson = False) -> None:
    """Validate a sweep file and show its plan; nothing is written."""
    from rsctl.cluster.control import plan_file
    from rsctl.config.settings import load_settings
    from rsctl.plan.describe import describe

    described = describe(plan_file(file, load_settings()), load_settings())
    print(json.dumps(described.values, indent=1) if as_json else described.text)


def submit(
    file: SweepFile,
    cluster: Annotated[
        str, typer.Option(help="Profile of rsctl.toml; by default the one in the sweep file.")
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan without submitting it.")] = False,
    update: Annotated[
        bool, typer.Option("--update", help="Change the existing sweep of the same name.")
    ] = False,
    stop_dropped: Annotated[
        bool, typer.Option("--stop-dropped", help="With --update: stop tasks that no sweep needs any more.")
    ] = False,
    of: Of = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until all tasks have finished, then print the table.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Start a sweep or resume it. Safe to repeat."""
    if dry_run:
        check(file, as_json)
        return
    if stop_dropped and not update:
        raise InputError("--stop-dropped: requires --update, because only an update drops tasks.")
    leave(
        submit_sweep(
            file, cluster, update=update, stop_dropped=stop_dropped, wait=wait, as_json=as_json, of=of or ()
        )
    )
