"""Runs and sweeps that were received in a package: a record in their folder, and the parts that it was made from."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from pydantic import FailFast, Field, with_config
from typing_extensions import TypedDict

from rsctl.errors import RefusedError, UserError
from rsctl.store.fields import STRICT, Text, Time
from rsctl.store.layout import Run, Store
from rsctl.store.plan_fields import entries_and_levels
from rsctl.store.records import Kind, read_or_skip
from rsctl.store.run_kinds import TABLES
from rsctl.text import counted

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


def about_received(folders: Iterable[Path]) -> list[str]:
    """A note per package that names the received runs among these folders of runs, models and sweeps."""
    found: dict[str, list[str]] = {}
    for folder in folders:
        if (record := received(folder)) and folder.parent.name in TABLES:
            found.setdefault(describe(record), []).append(folder.name)
    return [
        f"{counted(len(ids), 'run')} {'was' if len(ids) == 1 else 'were'} {text}, not computed in this store: {', '.join(sorted(ids)[:3])}{' and others' if len(ids) > 3 else ''}."
        for text, ids in found.items()
    ]


def require_assigned(run: Run, images: Iterable[int]) -> None:
    """Refuse further images of a received run."""
    if received(run.path) and not set(images) <= run.assigned_images():
        raise _not_extendable(run, "")


def require_extendable(run: Run, models: Iterable[Run]) -> None:
    """Refuse to compute more of a received run, or with a model that was received without its weights."""
    for one in (run, *models):
        if received(one.path) and (one is run or not one.model_file.exists()):
            raise _not_extendable(one, "" if one is run else " without its weights")


def _not_extendable(run: Run, how: str) -> RefusedError:
    return RefusedError(
        f"{run.path}: was received in a package{how}, so nothing can be added to it here. Use another store (RSCTL_STORE) for this sweep."
    )


def held(store: Store, sweep: str) -> list[str]:
    """SHA-256 of every part of a received sweep that the store holds: a later package can leave them out."""
    try:
        entries = entries_and_levels(store.sweep(sweep, numbers=False))
    except UserError:
        return []
    runs = {(entry.kind.value, entry.run) for entry in entries}
    runs |= {("models", model) for entry in entries for model in entry.models}
    folders = [store.sweep_folder(sweep), *(store.run(*run).path for run in sorted(runs))]
    folders += [store.root / "imports" / name for name in store.import_names(sweep)]
    records = [received(folder) for folder in folders]
    return sorted({part["sha256"] for record in records if record for part in record["parts"]})
