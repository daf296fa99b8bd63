"""Commands for handing results over: pack, unpack and verify."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from rsctl.cli.common import AsJson, leave, tell
from rsctl.errors import InputError
from rsctl.text import counted

PackageFile = Annotated[Path, typer.Argument(metavar="FILE", help="A package that `rsctl pack` wrote.")]


def pack(
    sweep: Annotated[str, typer.Argument(metavar="SWEEP", help="Name of the sweep.")],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="File to write, or - for stdout; by default SWEEP.rsctl."),
    ] = None,
    weights: Annotated[bool, typer.Option("--weights", help="Include the trained models.")] = False,
    logs: Annotated[bool, typer.Option("--logs", help="Include the logs of the tasks.")] = False,
    licence: Annotated[
        str, typer.Option("--licence", help="Licence of the data, as it should stand in the card.")
    ] = "",
    without: Annotated[
        Path | None,
        typer.Option(
            "--without",
            help="File with a SHA-256 per line, or - for stdin: parts that the receiver has, which are left out.",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
    as_json: AsJson = False,
) -> None:
    """Pack a sweep into one file that others can verify.

    It holds counts, specs, tables, training curves and a card; no hosts, users and paths.
    """
    from rsctl.config.settings import load_settings
    from rsctl.package.format import SUFFIX
    from rsctl.package.writing import pack as write_package
    from rsctl.package.writing import prepare
    from rsctl.store.layout import Store

    store, to_stdout = Store(load_settings().store), output == Path("-")
    if to_stdout and as_json:
        raise InputError("--json: writes to stdout, as -o - does. Choose one of them.")
    skipped = _hashes(without) if without else set()
    if to_stdout:
        package = prepare(store, sweep, weights=weights, logs=logs, licence=licence, without=skipped)
        package.write(sys.stdout.buffer)
        sys.stdout.buffer.flush()
    else:
        output = output or Path(f"{sweep}{SUFFIX}")
        package = write_package(
            store, sweep, output, weights=weights, logs=logs, licence=licence, without=skipped, force=force
        )
    found = package.manifest.members
    if as_json and output:
        values = {
            "file": str(output), "package": package.manifest.sha256, "bytes": output.stat().st_size,
            "members": [vars(member) for member in found], "notes": package.notes,
        }  # fmt: skip
        print(json.dumps(values, indent=1))
    elif output and not to_stdout:
        size = output.stat().st_size
        print(
            f"{output}: {counted(len(found), 'part')} of {sweep}, {size / 1e6:,.2f} MB, package {package.manifest.sha256[:12]}"
        )
    tell(package.notes)
    if not licence and not as_json and not to_stdout:
        tell(["the card states no licence of the data; give it with --licence"])


def _hashes(file: Path) -> set[str]:
    """The SHA-256 of parts to leave out."""
    from rsctl.store.records import read_bytes

    try:
        text = sys.stdin.read() if file == Path("-") else read_bytes(file).decode("ascii", "replace")
    except OSError as error:
        raise InputError(f"--without {file}: can't be read: {error.strerror or error}.") from error
    return set(text.split())


def unpack(
    file: PackageFile,
    name: Annotated[str, typer.Option("--name", help="Name for its sweep; by default its own.")] = "",
    origin: Annotated[
        str, typer.Option("--origin", help="Where it comes from, as status and tables should state it.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Put the runs of a package into the store. Safe to repeat."""
    from rsctl.config.settings import load_settings
    from rsctl.package.unpacking import unpack as put_into
    from rsctl.store.layout import Store

    found = put_into(file, Store(load_settings().store), name=name, origin=origin)
    if as_json:
        print(json.dumps(vars(found), indent=1))
        return
    states = [
        f"{counted(number, 'folder')} {state}"
        for state in ("added", "updated", "kept")
        if (number := found.count(state))
    ]
    print(f"{file}: sweep {found.sweep}: {', '.join(states)}. 'rsctl export {found.sweep}' prints its table.")


def verify(
    file: PackageFile,
    redraw: Annotated[
        int,
        typer.Option(
            "--redraw",
            min=0,
            max=10_000,
            help="Images per table to sample again; needs the weights in the package, and the data.",
        ),
    ] = 0,
    as_json: AsJson = False,
) -> None:
    """Recompute every number of a package from its counts.

    Exit code: 0 verified, 1 something differs, 2 not a package.
    """
    from rsctl.package.verifying import report_text
    from rsctl.package.verifying import verify as check

    found = check(file, redraw=redraw)
    print(json.dumps(found.values, indent=1) if as_json else report_text(found))
    leave(0 if found.verified else 1)
