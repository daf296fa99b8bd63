"""The files that one checkpoint consists of: a file, or a folder as accelerate and transformers write it, in one piece or several."""

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
"""In a model's run: the part of a published checkpoint that it is, what was left beside it, and the normalisation."""
_MADE = (1980, 1, 1, 0, 0, 0)
"""Date of every entry, so that the same files are the same bytes."""


def weights_file(path: Path) -> Path:
    """The file to read, of a folder the weights in it or the index of their pieces; raises InputError where there is none."""
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
        f"{path}: is a folder with none of {', '.join(names)} in it; it holds {', '.join(there[:8]) or 'nothing'}"
        f"{', …' * (len(there) > 8)}. Give the file with the weights."
    )


def called(file: str) -> str:
    """The name that people give a checkpoint: that of its file, and of its folder where all such folders have a file of that name."""
    path = PurePath(file)
    return f"{path.parent.name}/{path.name}" if path.name.removesuffix(INDEX) in WHOLE else path.name


def require_weights(path: Path) -> os.stat_result:
    """Refuse what can't hold weights: a sweep file of somebody else's may name any file of its reader's, and others may read the store."""
    with open_regular(path, MOST_BYTES) as stream:
        status = os.fstat(stream.fileno())
        # The kernel's own files wait, and say that they are empty.
        head = stream.read(min(512, status.st_size))
    pickled = head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")
    known = pickled or head.startswith(b"PK\x03\x04") or head[8:9] == b"{" or head[257:262] == b"ustar"
    if not (known or path.name.endswith(INDEX)):
        raise InputError(
            f"{path}: is no file of weights (PyTorch's, or safetensors): nothing of it is copied."
        )
    return status


def content(path: Path) -> bytes:
    """The bytes that are hashed and kept: of an index, an archive of it and of the pieces that it names; raises InputError."""
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
                    f"{path}: names {name}, which can't be read ({error.strerror}). All pieces have to lie beside it."
                ) from error
            archive.writestr(zipfile.ZipInfo(name, _MADE), piece)
    return packed.getvalue()


def pieces(index: bytes, where: str) -> list[str]:
    """The names of the files that an index lists; raises InputError where it is none."""
    try:
        names = sorted({*json.loads(index)["weight_map"].values()})
        if any(PurePath(name).name != name for name in names):
            raise ValueError("a piece lies elsewhere")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{where}: is no index of weights in several files ({error}).") from error
    return names
