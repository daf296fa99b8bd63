"""Changing what a data file holds, as its writer would have written it, or as an earlier version would have."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py

from rsctl.store.digest import SIGNATURE, SIZE, sealed
from rsctl.store.files import read_json, replace, to_json
from rsctl.store.layout import Run


@contextmanager
def edited(path: Path) -> Iterator[Any]:
    """The file, open for changes; afterwards with a digest that is right, where it had one."""
    with h5py.File(path, "r+") as file:
        yield file
    data = path.read_bytes()
    if not data.startswith(SIGNATURE):
        path.write_bytes(sealed(data[SIZE:]))


def without_digest(path: Path) -> None:
    """Leave the HDF5 alone."""
    data = path.read_bytes()
    path.write_bytes(data if data.startswith(SIGNATURE) else data[SIZE:])


def as_before_digests(run: Run) -> list[Path]:
    """Make it a run of a version that wrote none; returns its data files."""
    from rsctl.store.tables import data_files

    file = run.path / "spec.json"
    replace(file, to_json({name: value for name, value in read_json(file).items() if name != "digests"}))
    files = data_files(run)
    for path in files:
        without_digest(path)
    return files
