"""The command that lists and removes data that no sweep refers to any more."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from rsctl.cli.common import Of
from rsctl.text import counted


def prune(
    sweeps: Annotated[
        list[str] | None, typer.Argument(metavar="[SWEEP]...", help="Sweeps to delete, with the results that no other sweep shares.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Remove what is listed; without it nothing is removed.")] = False,
    now: Annotated[
        bool, typer.Option("--now", help="Include what was submitted in the last hour; asks for confirmation unless --yes is given.")
    ] = False,
    of: Of = None,
) -> None:  # fmt: skip
    """List runs and code that no sweep refers to, and remove them with --yes."""
    from rsctl.cluster.prune import RECENT, leftovers, remove, sweep_folders
    from rsctl.config.settings import load_settings

    place, named = load_settings(), list(dict.fromkeys(sweeps or []))
    found = leftovers(place, named, recent=-1.0 if now else RECENT, of=of or ())
    listed = [*sweep_folders(place, named), *found]
    for one in listed:
        print(f"{one.size / 1e6:10.1f} MB  {one.path.relative_to(place.store)}  ({one.why})")
    known = {one.path for one in found}
    young = set() if now else {one.path for one in leftovers(place, named, recent=-1.0, of=of or ())} - known
    if young:
        print(
            f"{len(young)} more were submitted in the last {RECENT / 60:.0f} minutes and are kept until then: "
            "another sweep may be about to refer to them. Run 'rsctl prune' again later, or add --now.",
            file=sys.stderr,
        )
    if not listed:
        print("nothing to remove" + (" yet" if young else ""), file=sys.stderr)
        return
    total = f"{counted(len(listed), 'folder')}, {sum(one.size for one in listed) / 1e6:.1f} MB"
    if now and not yes and sys.stdin.isatty():
        yes = typer.confirm(
            f"Remove {total}, also what was submitted in the last {RECENT / 60:.0f} minutes? Make sure that nobody is submitting to this store now.",
            err=True,
        )
    if yes:
        remove(place, found, named)
        print(f"removed: {total}", file=sys.stderr)
    else:
        print(f"{total}. Nothing was removed; add --yes to remove them.", file=sys.stderr)
