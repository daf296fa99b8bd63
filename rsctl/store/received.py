"""Runs and sweeps that were received in a package: a record in their folder, and the parts that it was made from."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from pydantic import FailFast, Field, with_config
from typing_extensions import TypedDict

from rsctl.errors import UserError
from rsctl.store.fields import STRICT, Text, Time
from rsctl.store.layout import Run, Store
from rsctl.store.records import Kind, read_or_skip

FILE = "received.json"
"""File name in the folder of a received run, import or sweep."""
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


@with_config(STRICT)
class ReceivedPart(TypedDict):
    """One part of the package."""

    name: Text
    sha256: Sha256


@with_config(STRICT)
class ReceivedRecord(TypedDict):
    """`received.json`."""

    package: Sha256
    """SHA-256 of the package's manifest."""
    origin: Text
    """Description of the place that it came from."""
    version: Text
    """Version of rsctl that packed it."""
    time: Time
    parts: Annotated[list[ReceivedPart], Field(max_length=1_000_000), FailFast()]


RECEIVED = Kind(ReceivedRecord)


def received(folder: Path) -> dict[str, Any] | None:
    """The record of a received run, import or sweep; None for one of this store's own."""
    return read_or_skip(folder / FILE, RECEIVED)


def describe(record: dict[str, Any]) -> str:
    """Format `received in package 0123456789ab from NAME`."""
    return f"received in package {record['package'][:12]} from {record['origin']}"


def about_received(runs: Iterable[Run]) -> list[str]:
    """Notes that name the received runs among these; one per package."""
    found: dict[str, list[str]] = {}
    for run in runs:
        if record := received(run.path):
            found.setdefault(describe(record), []).append(run.id)
    return [
        f"{len(ids)} of the runs {'was' if len(ids) == 1 else 'were'} {text}, not computed in this store: {', '.join(ids[:3])}"
        f"{' and others' if len(ids) > 3 else ''}."
        for text, ids in found.items()
    ]


def held(store: Store, sweep: str) -> list[str]:
    """SHA-256 of every part of a received sweep that the store holds: a later package can leave them out."""
    try:
        entries = store.sweep(sweep, numbers=False)["entries"]
    except UserError:
        return []
    runs = {(entry.kind.value, entry.run) for entry in entries}
    runs |= {("models", model) for entry in entries for model in entry.models}
    folders = [store.sweep_folder(sweep), *(store.run(*run).path for run in sorted(runs))]
    folders += [store.root / "imports" / name for name in store.import_names(sweep)]
    records = [received(folder) for folder in folders]
    return sorted({part["sha256"] for record in records if record for part in record["parts"]})
