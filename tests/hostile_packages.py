"""Hostile packages, from a seeded generator: each is one file that `unpack` must refuse."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import random
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from package_cases import hdf5_edit

from rsctl.package.archive import extract, member_of
from rsctl.package.format import NAMES, Member
from rsctl.store.hdf5 import encode

ESCAPES = ("\x1b]0;owned\x07", "\x1b[2J", "\x9b31m", "a\rb", "\u202etxt", "\x00", "\x1bP+q\x1b\\")
TRAVERSALS = ("../escaped", "/tmp/rsctl-escaped", "runs/../../escaped", "runs/counts/../../../escaped/counts.h5", "CARD.md/../../escaped", "..", "./CARD.md", "runs//counts.h5", "C:\\escaped", "runs/counts/a\nb/counts.h5")  # fmt: skip
TYPES = (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CONTTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_SPARSE, tarfile.XHDTYPE, tarfile.XGLTYPE)  # fmt: skip

Content = dict[str, bytes]


class Runs:
    """Creates a file where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (str(self.mark), "w"))


def written(content: Content, *, manifest: dict[str, Any] | None = None, raw: bytes | None = None, change: Callable[[tarfile.TarInfo], None] | None = None, twice: str = "", target: str = "") -> bytes:  # fmt: skip
    """The package with this content and an honest manifest, or another one."""
    values = manifest or manifest_of(content)
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in {
            "manifest.json": raw if raw is not None else json.dumps(values).encode(),
            **content,
        }.items():
            header = tarfile.TarInfo(name)
            header.size = len(data)
            if change and name == target:
                change(header)
            block = header.tobuf(tarfile.USTAR_FORMAT)
            for _ in range(2 if name == twice else 1):
                stream.write(block)
                stream.write(data + b"\0" * (-len(data) % 512))
        tar.offset = stream.tell()
    return gzip.compress(stream.getvalue(), 6, mtime=0)


def manifest_of(content: Content) -> dict[str, Any]:
    members = [
        vars(member_of(name, data) if NAMES.fullmatch(name) else _any(name, data))
        for name, data in content.items()
    ]
    return {
        "format": "rsctl package",
        "version": 1,
        "sweep": "sweep",
        "rsctl": "0.1.0",
        "licence": "",
        "members": members,
    }


def _any(name: str, data: bytes) -> Member:
    import hashlib

    return Member(name, len(data), hashlib.sha256(data).hexdigest())


def content_of(file: Path, folder: Path) -> Content:
    folder.mkdir()
    return {name: path.read_bytes() for name, path in extract(file, folder).files.items()}


def hostile(file: Path, folder: Path, mark: Path, seed: int, number: int) -> Iterator[tuple[str, bytes]]:
    """So many packages, each with a name for its kind."""
    content, rng = content_of(file, folder), random.Random(seed)
    makers = list(_fixed(content, mark))
    yield from makers[:number]
    for place in range(max(0, number - len(makers))):
        kind = (flipped, flipped_inside, truncated, wrong_type, escaped)[place % 5]
        yield f"{kind.__name__} {place}", kind(content, file.read_bytes(), rng)


def _fixed(content: Content, mark: Path) -> Iterator[tuple[str, bytes]]:
    for name in TRAVERSALS:
        yield f"traversal {name!r}", written({**content, name: b"x"})
    for name in TRAVERSALS[:4]:
        yield (
            f"header {name!r}",
            written(
                content, change=lambda header, name=name: setattr(header, "name", name), target="CARD.md"
            ),
        )  # type: ignore[misc]
    for kind in TYPES:

        def become(header: tarfile.TarInfo, kind: bytes = kind) -> None:
            header.type, header.linkname = kind, "/etc/passwd"

        yield f"type {kind!r}", written(content, change=become, target="tables/table.md")
    yield "a member twice", written(content, twice="CARD.md")
    yield "a manifest twice", written(content, twice="manifest.json")
    yield "listed twice", written(content, manifest=_listed_twice(content))
    yield "more than listed", written({**content, "extra.bin": b"x"}, manifest=manifest_of(content))
    yield (
        "fewer than listed",
        written({name: content[name] for name in list(content)[:-1]}, manifest=manifest_of(content)),
    )
    yield "not a tar", gzip.compress(b"hello")
    yield "not a gzip", b"hello" * 1000
    yield "empty", b""
    yield (
        "a bomb of zeros",
        written({**content, "CARD.md": bytes(15 << 20), "tables/table.csv": bytes(63 << 20)}),
    )
    yield "a bomb behind the end", written(content)[:-8] + b"" + _bomb(200 << 20)
    yield "a gzip behind the end", written(content) + _bomb(100 << 20)
    yield "a manifest of spaces", written(content, raw=b" " * (65 << 20))
    yield "a deep manifest", written(content, raw=b'{"a":' * 100_000)
    yield "a manifest of lists", written(content, raw=b"[" + b"1," * 1_000_000 + b"1]")
    yield "no manifest", written(content, raw=b"")
    plan, counts = "sweep/plan.json", next(name for name in content if name.endswith("counts.h5"))
    yield "a deep plan", written({**content, plan: b'{"raw":' + b'{"a":' * 200_000})
    yield "a plan of a million lists", written({**content, plan: b"[" + b"[]," * 1_000_000 + b"[]]"})
    yield "a pickle as a table", written({**content, counts: pickle.dumps(Runs(mark))})
    yield "a pickle as a model", written({**content, _model(content): pickle.dumps(Runs(mark))})
    yield "a text as a table", written({**content, counts: b"hello"})
    for name, change in _broken_tables().items():
        yield f"a table with {name}", written({**content, counts: hdf5_edit(change)(content[counts])})
    yield "a table bomb", written({**content, counts: _table_bomb()})
    yield (
        "another run's name",
        written({name.replace(counts.split("/")[2], "other-1"): data for name, data in content.items()}),
    )
    yield "a sweep named ..", written(content, manifest={**manifest_of(content), "sweep": ".."})
    yield "a sweep named a/b", written(content, manifest={**manifest_of(content), "sweep": "a/b"})
    for text in ESCAPES[:3]:
        yield f"a licence with {text!r}", written(content, manifest={**manifest_of(content), "licence": text})
        yield f"a version with {text!r}", written(content, manifest={**manifest_of(content), "rsctl": text})
    yield "a part left out", written(_without(content, counts), manifest=_left_out(content, counts))


def _bomb(size: int) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join([packer.compress(bytes(1 << 20)) for _ in range(size >> 20)]) + packer.flush()


def _model(content: Content) -> str:
    return next(
        name for name in content if name.startswith("runs/models/") and name.endswith("spec.json")
    ).replace("spec.json", "model.pt")


def _listed_twice(content: Content) -> dict[str, Any]:
    values = manifest_of(content)
    values["members"].append(values["members"][0])
    return values


def _without(content: Content, gone: str) -> Content:
    return {name: data for name, data in content.items() if name != gone}


def _left_out(content: Content, gone: str) -> dict[str, Any]:
    values = manifest_of(content)
    for member in values["members"]:
        member["included"] = member["name"] != gone
    return values


def _broken_tables() -> dict[str, Callable[[Any], None]]:
    def column(name: str, values: Callable[[Any], Any]) -> Callable[[Any], None]:
        def change(file: Any) -> None:
            found = values(file[name][()])
            del file[name]
            file[name] = found

        return change

    def external(file: Any) -> None:
        del file["counts"]
        file["counts"] = h5py.ExternalLink("/etc/passwd", "/counts")

    def soft(file: Any) -> None:
        del file["n"]
        file["n"] = h5py.SoftLink("/index")

    def virtual(file: Any) -> None:
        layout = h5py.VirtualLayout((10,), "i8")
        layout[:] = h5py.VirtualSource("/etc/passwd", "index", (10,))
        del file["index"]
        file.create_virtual_dataset("index", layout)

    return {
        "an external link": external,
        "a soft link": soft,
        "a virtual data set": virtual,
        "negative counts": column("counts", lambda values: values - 5000),
        "floats": column("counts", lambda values: values.astype("f8")),
        "other lengths": column("label", lambda values: values[:-1]),
        "images twice": column("index", lambda values: np.zeros_like(values)),
        "images that nobody assigned": column("index", lambda values: values + 10_000),
        "a label of no class": column("label", lambda values: values + 90),
        "times that aren't numbers": column("seconds", lambda values: values * np.nan),
        "a fingerprint outside": column("fingerprint", lambda values: values + 7),
        "another spec": lambda file: file.attrs.update(spec_hash="0" * 64),
        "another sigma": lambda file: file.attrs.update(sigma=9.0),
        "no checkpoint": lambda file: file.attrs.update(model_sha256="x"),
        "an escape in an attribute": lambda file: file.attrs.update(version=ESCAPES[0]),
        "an escape in its function": column("functions", lambda values: np.array(['{"device": "\\u001b[2J"}'], h5py.string_dtype())),
        "functions that are no objects": column("functions", lambda values: np.array(["[1]"], h5py.string_dtype())),
    }  # fmt: skip


def _table_bomb() -> bytes:
    return encode(
        lambda file: file.create_dataset(
            "counts", (20_000_000_000, 10), "i4", chunks=(1000, 10), compression="gzip"
        )
    )


def flipped(_content: Content, data: bytes, rng: random.Random) -> bytes:
    """A bit of the file behind gzip's header is flipped."""
    changed = bytearray(data)
    changed[rng.randrange(12, len(data))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def flipped_inside(_content: Content, data: bytes, rng: random.Random) -> bytes:
    """A bit behind the manifest is flipped in the tar, and it is compressed again."""
    changed = bytearray(gzip.decompress(data))
    begin, end = changed.index(b"CARD.md" + bytes(10)), len(changed) - 10240
    changed[rng.randrange(begin, end)] ^= 1 << rng.randrange(8)
    return gzip.compress(bytes(changed), mtime=0)


def truncated(_content: Content, data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data) - 1)]


def wrong_type(content: Content, _data: bytes, rng: random.Random) -> bytes:
    """A value that records must have gets another type."""
    name, path = rng.choice(NEEDED)
    name = next(one for one in content if name in one)
    values = json.loads(content[name])
    place = values
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = rng.choice(
        [
            v
            for v in ("text", -1, 1.5, {"a": []}, [[None]], True, 10**30)
            if type(v) is not type(place[path[-1]])
        ]
    )
    return written({**content, name: json.dumps(values).encode()})


NEEDED: list[tuple[str, list[Any]]] = [
    ("/spec.json", ["spec"]), ("/spec.json", ["hash"]), ("/spec.json", ["schema"]), ("/spec.json", ["spec", "dataset"]), ("/spec.json", ["spec", "seed"]),
    ("/spec.json", ["spec", "kind"]), ("counts", ["spec", "n"]), ("/launch.json", ["plugins"]), ("/launch.json", ["threads"]),
    ("/launch.json", ["data"]), ("/tasks.json", ["tasks"]), ("plan.json", ["entries"]), ("plan.json", ["entries", 0]), ("plan.json", ["entries", 0, "run"]), ("plan.json", ["entries", 0, "radii"]),
    ("plan.json", ["raw"]), ("plan.json", ["description"]), ("plan.json", ["entries", 0, "images"]), ("plan.json", ["entries", 0, "certificates"]),
]  # fmt: skip


def escaped(content: Content, _data: bytes, rng: random.Random) -> bytes:
    """One text of one record, or one line of a text, gets a control sequence."""
    names = [
        name
        for name in content
        if name.endswith((".json", ".md", ".toml", ".csv")) and "table.json" not in name
    ]
    name, mark = rng.choice(names), rng.choice(ESCAPES)
    if not name.endswith(".json"):
        half = len(content[name]) // 2
        return written({**content, name: content[name][:half] + mark.encode() + content[name][half:]})
    values = json.loads(content[name])
    places = list(_texts(values))
    if not places:
        return written({**content, "CARD.md": mark.encode()})
    holder, key = rng.choice(places)
    holder[key] = f"{holder[key]}{mark}"
    return written({**content, name: json.dumps(values).encode()})


def _texts(values: Any) -> Iterator[tuple[Any, Any]]:
    items = (
        values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    )
    for key, value in items:
        if isinstance(value, str):
            yield values, key
        else:
            yield from _texts(value)
