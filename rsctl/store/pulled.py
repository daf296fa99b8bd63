"""Sweeps that run on another machine and whose results were pulled: a record in their folder of where they run."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Annotated, cast

from pydantic import Field, with_config
from typing_extensions import TypedDict

from rsctl.errors import InputError, UserError
from rsctl.store.attempts import State
from rsctl.store.fields import STRICT, Amount, Count, Name, Text, Time
from rsctl.store.files import replace, to_json
from rsctl.store.layout import Store
from rsctl.store.records import Kind, read_or_skip

FILE = "remote.json"
"""File name in the folder of a pulled sweep."""


@with_config(STRICT)
class PulledTask(TypedDict):
    """A task that wasn't done when its sweep was pulled."""

    state: State
    reason: Text
    node: Text
    done: Amount
    total: Amount


@with_config(STRICT)
class PulledRecord(TypedDict):
    """`remote.json`."""

    remote: Name
    """Name of the remote."""
    sweep: Name
    """Name of the sweep there."""
    time: Time
    states: Annotated[dict[Name, Count], Field(max_length=20)]
    """Number of its tasks by state."""
    progress: Annotated[float, Field(ge=0, le=1)]
    tasks: Annotated[dict[Text, PulledTask], Field(max_length=1_000_000)]
    """Those that weren't done, by key."""


PULLED = Kind(PulledRecord)


def pulled(store: Store, sweep: str) -> PulledRecord | None:
    """The record of a pulled sweep; None for any other."""
    return cast("PulledRecord | None", read_or_skip(store.sweep_folder(sweep) / FILE, PULLED))


def write_pulled(store: Store, sweep: str, record: PulledRecord) -> None:
    replace(store.sweep_folder(sweep) / FILE, to_json(record))


def pulled_sweeps(store: Store) -> dict[str, PulledRecord]:
    """Every pulled sweep by its name in this store."""
    names = sorted(file.parent.name for file in store.root.glob(f"sweeps/[!.]*/{FILE}"))
    return {name: found for name in names if (found := pulled(store, name))}


def require_own(store: Store, names: Iterable[str], command: str, given: str = "") -> None:
    """Refuse a command for a sweep that runs on another machine, and for its runs; `given` is what the command takes in place of a name.

    Raises
    ------
    InputError
        With the command that reaches it there.
    """
    known = pulled_sweeps(store)
    for name in names if known else ():
        sweep = name if name in known else "" if name in store.sweep_names() else _sweep_of(store, name)
        if found := known.get(sweep):
            there = given or (found["sweep"] if sweep == name else name)
            raise InputError(
                f"{name}: runs on {found['remote']}; what is here was pulled from there. "
                f"'rsctl --at {found['remote']} {command} {there}' reaches it."
            )


def _sweep_of(store: Store, run: str) -> str:
    """The pulled sweep that alone has a run; empty if another sweep has it, too."""
    try:
        identity = store.find_run(run.rpartition("/")[0] if run.rpartition("/")[2].isdigit() else run).id
    except InputError:
        return ""
    having = []
    for name in store.sweep_names():
        with suppress(UserError):  # an unreadable one runs nothing
            entries = store.sweep(name, numbers=False)["entries"]
            having += [name] if any(identity in (entry.run, *entry.models) for entry in entries) else []
    return having[0] if having and all(pulled(store, name) for name in having) else ""
