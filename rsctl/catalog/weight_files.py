"""Files of a checkpoint: one file, or a folder as written by accelerate and transformers, in one or several pieces."""

from __future__ import annotations

import io
import json
import os
import shlex
import zipfile
from pathlib import Path, PurePath

from rsctl.errors import InputError
from rsctl.regular import open_regular, read_regular

WHOLE = ("model.safetensors", "pytorch_model.bin")
INDEX = ".index.json"
MOST_BYTES = 16 << 30
"""Most bytes of a file of weights."""
TAKEN = "taken.json"
"""File in a model's run: the imported part of a published checkpoint, the parts left out, and the normalisation."""
_MADE = (1980, 1, 1, 0, 0, 0)
"""Date of every entry, so that the same files are the same bytes."""


def weights_file(path: Path) -> Path:
    """The file to read; for a folder its weights or the index of their pieces. Raises InputError where there is none."""
    if not path.is_dir():
        return path
    names = [*WHOLE, *(name + INDEX for name in WHOLE)]
    for name in names:
        if (path / name).is_file():
            return path / name
    there = sorted(one.name for one in path.iterdir())
    if ".metadata" in there and any(name.endswith(".distcp") for name in there):
        target = f"{path.name}.pt"
        raise InputError(
            f"{path}: is a folder of torch.distributed.checkpoint; loading it would run code of its .metadata, so it is refused. Where "
            f"you trust it, write it to one file:\npython -m torch.distributed.checkpoint.format_utils dcp_to_torch "
            f"{shlex.quote(str(path))} {shlex.quote(target)}"
        )
    raise InputError(
        f"{path}: is a folder without {' or '.join(names)}; it holds {', '.join(there[:8]) or 'nothing'}"
        f"{', …' * (len(there) > 8)}. Give the file with the weights."
    )


def called(file: str) -> str:
    """The usual name of a checkpoint: that of its file, with its folder's if the file's name is generic."""
    path = PurePath(file)
    return f"{path.parent.name}/{path.name}" if path.name.removesuffix(INDEX) in WHOLE else path.name


def require_weights(path: Path) -> os.stat_result:
    """Refuse files that can't hold weights: another user's sweep file could name a private file, and the store may be readable by others."""
    with open_regular(path, MOST_BYTES) as stream:
        status = os.fstat(stream.fileno())
        # The kernel's own files block, and claim to be empty.
        head = stream.read(min(512, status.st_size))
    pickled = head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")
    known = pickled or head.startswith(b"PK\x03\x04") or head[8:9] == b"{" or head[257:262] == b"ustar"
    if not (known or path.name.endswith(INDEX)):
        raise InputError(f"{path}: is not a file of weights (PyTorch or safetensors). Nothing was copied.")
    return status


def content(path: Path) -> bytes:
    """The bytes to hash and store; for an index, an archive of it and its pieces. Raises InputError."""
    if not path.name.endswith(INDEX):
        return read_regular(path, MOST_BYTES)
    index = read_regular(path, MOST_BYTES)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(zipfile.ZipInfo(path.name, _MADE), index)
        for name in pieces(index, str(path)):
            try:
                require_weights(path.parent / name)
                piece = read_regular(path.parent / name, MOST_BYTES)
            except OSError as error:
                raise InputError(
                    f"{path}: names {name}, which can't be read ({error.strerror}). All pieces must be in its folder."
                ) from error
            archive.writestr(zipfile.ZipInfo(name, _MADE), piece)
    return packed.getvalue()


def pieces(index: bytes, where: str) -> list[str]:
    """The names of the files in an index; raises InputError where it isn't one."""
    try:
        names = sorted({*json.loads(index)["weight_map"].values()})
        if any(PurePath(name).name != name for name in names):
            raise ValueError("a piece is in another folder")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{where}: is not an index of weights in several files ({error}).") from error
    return names
