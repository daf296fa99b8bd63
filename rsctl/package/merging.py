"""Compares what a package holds of a run with what a store has of it: other rows for the same image are never mixed or replaced."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from rsctl.config.identity import identity
from rsctl.errors import RefusedError
from rsctl.store.imports import Import
from rsctl.store.layout import Run, Store
from rsctl.store.received import received
from rsctl.store.records import open_file
from rsctl.store.rows import DistanceBounds, Rows
from rsctl.store.run_kinds import RunKind
from rsctl.store.tables import StoredTable, reader_of

ADDED, UPDATED, KEPT = "added", "updated", "kept"
_ADVICE = "Nothing was written: unpack it into another store (RSCTL_STORE)."


def state_of(store: Store, composed: Store, folder: str) -> str:
    """The effect of unpacking one folder, `counts/<id>` or `imports/<id>`: added, updated, or kept as it is.

    Raises RefusedError where the store has other content for it.
    """
    old, new = store.root / folder, composed.root / folder
    if not folder.startswith(("imports/", RunKind.MODELS)):
        _require_same_weights(store, Run(new))
    if not (old / "spec.json").exists():
        return ADDED
    if folder.startswith("imports/"):
        if Import(old).spec != Import(new).spec:
            raise RefusedError(f"{old}: holds another log of the same name. {_ADVICE}")
        return KEPT
    ours, theirs = Run(old), Run(new)
    if identity(ours.spec) != identity(theirs.spec):
        raise RefusedError(f"{old}: describes another computation, though the names agree. {_ADVICE}")
    before, now = received(old), received(new)
    more = _compared(ours, theirs) if ours.kind.is_table else _compared_models(ours, theirs)
    if before is None:
        if more:
            raise RefusedError(
                f"{old}: was computed in this store, and the package has {more} more images of it. A run is one or the other. {_ADVICE}"
            )
        return KEPT
    same = now is not None and _parts(now) <= _parts(before)
    return KEPT if same or more < 0 else UPDATED


def _require_same_weights(store: Store, theirs: Run) -> None:
    """Refuse rows about other weights than the store has of their model."""
    model, rows = store.model(theirs.table_spec.model_run), reader_of(theirs).read()
    if len(rows.rows) and model.model_file.exists() and sha256_of(model.model_file) != rows.model_sha256:
        raise RefusedError(
            f"{model.path}: holds other weights than those that the package's {theirs.key} is about. {_ADVICE}"
        )


def _parts(record: dict[str, Any]) -> set[tuple[str, str]]:
    return {(part["name"], part["sha256"]) for part in record["parts"]}


def _compared(ours: Run, theirs: Run) -> int:
    """Number of images that only their table has; -1 where only ours has more. Raises RefusedError where an image differs."""
    a, b = reader_of(ours).read(), reader_of(theirs).read()
    _, at, bt = np.intersect1d(a.rows.index, b.rows.index, assume_unique=True, return_indices=True)
    if len(a.rows) and len(b.rows) and a.model_sha256 != b.model_sha256:
        raise RefusedError(
            f"{ours.path}: is about another checkpoint ({a.model_sha256[:12]}… here, {b.model_sha256[:12]}… there). {_ADVICE}"
        )
    for name in _columns(a):
        differ = getattr(a.rows, name)[at] != getattr(b.rows, name)[bt]
        if differ.any():
            image = a.rows.index[at][differ.reshape(len(at), -1).any(axis=1)][0]
            raise RefusedError(
                f"{ours.path}: has other results than the package for image {image} ('{name}'). {_ADVICE}"
            )
    more = len(b.rows) - len(bt)
    return -1 if not more and len(a.rows) > len(at) else more


def _columns(table: StoredTable[Rows] | StoredTable[DistanceBounds]) -> tuple[str, ...]:
    if isinstance(table.rows, Rows):
        return ("label", "selection_counts", "counts", "n")
    return ("label", "predicted", "lower", "upper")


def _compared_models(ours: Run, theirs: Run) -> int:
    """0; raises RefusedError where both have weights, and they differ."""
    if (
        ours.model_file.exists()
        and theirs.model_file.exists()
        and sha256_of(ours.model_file) != sha256_of(theirs.model_file)
    ):
        raise RefusedError(f"{ours.path}: holds other weights than the package. {_ADVICE}")
    return 0


def sha256_of(file: Path) -> str:
    """SHA-256 of a file."""
    digest = hashlib.sha256()
    with open_file(file) as opened:
        while part := opened.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()


def require_same_sweep(store: Store, composed: Store, sweep: str) -> None:
    """Refuse to replace another sweep of this name."""
    folder = store.sweep_folder(sweep)
    if not (folder / "plan.json").exists() and not (folder / "imports").exists():
        return
    advice = f"Unpack it under another name: --name {sweep[:50]}-received."
    record = received(folder)
    if record is None or _submitted(store, sweep) > record["time"]:
        raise RefusedError(f"{folder}: is a sweep of this store. {advice}")
    if (folder / "plan.json").exists() and (composed.sweep_folder(sweep) / "plan.json").exists():
        old, new = (
            {entry.key for entry in one.sweep(sweep, numbers=False)["entries"]} for one in (store, composed)
        )
        if not (old <= new or new <= old):
            raise RefusedError(f"{folder}: was received before, with other runs. {advice}")


def _submitted(store: Store, sweep: str) -> float:
    """Time of the last submission of a sweep, 0 where it has no plan."""
    if not (store.sweep_folder(sweep) / "plan.json").exists():
        return 0.0
    return store.sweep(sweep, numbers=False).get("submitted", 0.0)
