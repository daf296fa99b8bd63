"""Commands that check the image files of a data set and sort them into class folders."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from rsctl.cli.common import AsJson, leave
from rsctl.errors import InputError


@contextmanager
def _progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar on stderr if that is a terminal."""
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def data_check(
    name: Annotated[
        str,
        typer.Argument(metavar="[NAME|FOLDER]", help="Only this data set, or this folder of class folders."),
    ] = "",
    white: Annotated[float, typer.Option(min=0, help="Same as dataset.white in a sweep file.")] = 0.0,
    orientation: Annotated[
        str, typer.Option(help="Same as dataset.orientation in a sweep file: stored or exif.")
    ] = "stored",
    as_json: AsJson = False,
) -> None:
    """Open every image file as training does, and list the unusable ones with a remedy for each.

    A file that was checked before is opened again only if its size or modification time has changed.
    """
    from rsctl.cluster.data_check import check, check_all, text_of
    from rsctl.config.settings import load_settings
    from rsctl.plain import printable

    if orientation not in ("stored", "exif"):
        raise InputError(f"--orientation: '{orientation}' is unknown. Allowed: exif, stored.")
    place = load_settings()
    with _progress("opening") as advance:
        found = (
            [check(place.data, name, white, orientation, advance)] if name else check_all(place.data, advance)
        )
    if as_json:
        print(
            json.dumps(
                [{**one.__dict__, "root": str(one.root), "sound": one.sound} for one in found], indent=1
            )
        )
    else:
        for one in found:
            print("\n".join(map(printable, text_of(one).splitlines())))
        if not found:
            print(f"no data set of image files found below the data root {printable(str(place.data))}")
    leave(0 if all(one.sound for one in found) else 2)


def data_prepare(name: Annotated[str, typer.Argument(metavar="NAME", help="imagenet.")]) -> None:
    """Sort ImageNet's validation images into class folders in the data root. An interrupted run can be repeated to continue."""
    from rsctl.catalog.imagenet import prepare
    from rsctl.config.settings import load_settings
    from rsctl.plain import printable

    if name != "imagenet":
        raise InputError(f"{name}: only imagenet needs to be prepared.")
    with _progress("moving") as advance:
        done = prepare(load_settings().data, advance)
    print(printable(done))
