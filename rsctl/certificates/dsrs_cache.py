"""The tables of `dsrs` on disk: worked out once per user instead of once per process.

A file holds the lines of one shell at some successive shifts, behind the SHA-256 of its content and of what it is
about; one that doesn't match is made anew. Its name is a hash of the same, with the source of the quadrature and
the versions of numpy and scipy in it, so that another calculation never reads it. The folder is
`$XDG_CACHE_HOME/rsctl/dsrs`, by default under `~/.cache`; where it can't be written, tables live in the process.
"""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import scipy

from rsctl.certificates import dsrs_table
from rsctl.certificates.dsrs_table import STEP, Shell, Tangents, tangents

TOGETHER = 20
"""Shifts per file: as many are worked out at once, 0.15 s; a radius needs 50 to 200."""


def tangents_at(d: int, k: int, shell: Shell, node: int) -> Tangents:
    """The lines for the shift `node` · STEP, node ≥ 1; from the disk where they are."""
    return _some(d, k, shell, (node - 1) // TOGETHER)[(node - 1) % TOGETHER]


@lru_cache(maxsize=200)
def _some(d: int, k: int, shell: Shell, part: int) -> list[Tangents]:
    about = _about(d, k, shell, part)
    path = folder() / f"{hashlib.sha256(about).hexdigest()[:32]}.npz"
    try:
        return _decode(path.read_bytes(), about)
    except (OSError, ValueError, KeyError, EOFError):
        pass  # not there, or spoilt
    shifts = [(part * TOGETHER + number) * STEP for number in range(1, TOGETHER + 1)]
    made = [tangents(d, k, shell, shift) for shift in shifts]
    _write(path, _encode(made, about))
    return made


def folder() -> Path:
    """The folder of the files."""
    return Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "rsctl" / "dsrs"


@lru_cache(maxsize=1)
def _version() -> str:
    source = Path(dsrs_table.__file__).read_bytes()
    return f"{hashlib.sha256(source).hexdigest()} numpy {np.__version__} scipy {scipy.__version__}"


def _about(d: int, k: int, shell: Shell, part: int) -> bytes:
    """Everything that the numbers depend on; floats in hexadecimal, to the last bit."""
    ends = " ".join(float(end).hex() for end in shell)
    return f"{_version()} d {d} k {k} shell {ends} part {part} of {TOGETHER} step {STEP.hex()}".encode()


def _encode(lines: list[Tangents], about: bytes) -> bytes:
    arrays: dict[str, Any] = {"lengths": np.array([len(line.slope) for line in lines])}
    arrays |= {name: np.concatenate([getattr(line, name) for line in lines]) for name in Tangents._fields}
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    content = buffer.getvalue()
    return hashlib.sha256(about + content).digest() + content


def _decode(data: bytes, about: bytes) -> list[Tangents]:
    """Raises ValueError unless it is what was written, about the same."""
    digest, content = data[:32], data[32:]
    if hashlib.sha256(about + content).digest() != digest:
        raise ValueError("spoilt, or about something else")
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        cuts = np.cumsum(arrays["lengths"])[:-1]
        columns = [np.split(arrays[name], cuts) for name in Tangents._fields]
    return [Tangents(*line) for line in zip(*columns, strict=True)]


def _write(path: Path, data: bytes) -> None:
    """Whole or not at all, whoever else is writing it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent)
    except OSError:
        return
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.replace(temporary, path)
    except OSError:
        Path(temporary).unlink(missing_ok=True)
