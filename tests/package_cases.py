"""Packages for tests: of a small store, and forged ones."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from rsctl.package.archive import extract, manifest_bytes, member_of, write_archive
from rsctl.package.writing import pack
from rsctl.store.hdf5 import encode
from rsctl.store.layout import Store

Edit = Callable[[bytes], bytes]


def packed(store: Store, folder: Path, sweep: str = "sweep", **options: Any) -> Path:
    """The package of a sweep in a folder."""
    folder.mkdir(exist_ok=True)
    file = folder / f"{sweep}.rsctl"
    pack(store, sweep, file, force=True, **options)
    return file


def forged(
    file: Path, edits: Mapping[str, Edit], *, honest: bool = False, name: str = "forged.rsctl"
) -> Path:
    """A package with members changed where their name contains a key; with `honest` the manifest keeps the old digests."""
    folder = file.parent / f"{name}.parts"
    folder.mkdir()
    found = extract(file, folder)
    content = {one: path.read_bytes() for one, path in found.files.items()}
    for part, edit in edits.items():
        names = [one for one in content if part in one]
        assert names, part
        content[names[0]] = edit(content[names[0]])
    members = tuple(
        member if honest else member_of(member.name, content[member.name])
        for member in found.manifest.members
    )
    manifest = replace(found.manifest, members=members)
    target = file.parent / name
    with open(target, "wb") as stream:
        if honest:
            _write_as_it_is(stream, manifest_bytes(manifest), content)
        else:
            write_archive(stream, manifest, content)
    return target


def _write_as_it_is(stream: Any, manifest: bytes, content: Mapping[str, bytes]) -> None:
    with tarfile.open(fileobj=stream, mode="w:gz", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in {"manifest.json": manifest, **content}.items():
            header = tarfile.TarInfo(name)
            header.size = len(data)
            tar.addfile(header, io.BytesIO(data))


def hdf5_edit(change: Callable[[Any], None]) -> Edit:
    """An edit of a data file, whose digest is written anew."""

    def edit(data: bytes) -> bytes:
        def write(new: Any) -> None:
            with h5py.File(io.BytesIO(data), "r") as old:
                for key in old:
                    old.copy(key, new)
                for key, value in old.attrs.items():
                    new.attrs[key] = value
            change(new)

        return encode(write)

    return edit


def json_edit(change: Callable[[Any], None]) -> Edit:
    """An edit of a JSON record."""

    def edit(data: bytes) -> bytes:
        values = json.loads(data)
        change(values)
        return json.dumps(values, indent=1).encode()

    return edit


def move_a_draw(file: Any, *, row: int = 0) -> None:
    """Move 300 draws of an image from its most frequent class to another one; their sum stays."""
    counts = file["counts"][()]
    top = int(counts[row].argmax())
    moved = min(300, int(counts[row, top]))
    counts[row, top] -= moved
    counts[row, (top + 1) % counts.shape[1]] += moved
    del file["counts"]
    file["counts"] = counts.astype(np.int32)
