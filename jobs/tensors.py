"""Reads files of weights, torch's and safetensors, without running anything of them."""

from __future__ import annotations

import argparse
import io
import types
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
import torch
from numpy._core.multiarray import scalar
from safetensors.torch import load as load_safetensors
from torch import Tensor

from rsctl.catalog.weight_files import INDEX, pieces
from rsctl.errors import InputError, UnavailableError

NEEDED = (2, 6)
"""First safe release: earlier ones run TorchScript archives in torch's interpreter, even with `weights_only`."""

MOST_REPEATED = 16 << 20
"""Bytes up to which a tensor may repeat stored values, as a constant that was expanded does."""


def _empty(*_: Any) -> dict[Any, Any]:
    """A dict in the place of one with defaults, which torch's reader doesn't fill."""
    return {}


HARMLESS: list[Any] = [
    np.dtype,
    *(type(np.dtype(kind)) for kind in ("float64", "float32", "int64", "int32", "bool")),
    *((scalar, f"{package}.multiarray.scalar") for package in ("numpy.core", "numpy._core")),
    argparse.Namespace,
    types.SimpleNamespace,
    (_empty, "collections.defaultdict"),
    *((kind, f"builtins.{kind.__name__}") for kind in (list, dict, int, float)),
    *(
        (kind, f"{module}.{pure}{kind.__name__.removeprefix('Pure')}")
        for kind in (PurePosixPath, PureWindowsPath)
        for module in ("pathlib", "pathlib._local")
        for pure in ("", "Pure")
    ),
]
"""Objects that checkpoints hold besides weights and whose making runs nothing of the file: numbers of NumPy's, the options of a training,
paths (which here name a place and can't reach it)."""


class TorchScriptArchive(Exception):
    """A file that holds a TorchScript program."""


def load_tensors(source: Path | bytes, device: str = "cpu") -> Any:
    """Load a file as `torch.load(…, weights_only=True)` does; archives of TorchScript are refused before torch sees them.

    Raises TorchScriptArchive for one, UnavailableError where this torch is too old to read files that one doesn't trust.
    """
    release = tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2])
    if release < NEEDED:
        raise UnavailableError(
            f"torch {torch.__version__} runs programs embedded in checkpoints while it reads them. Install torch "
            f"{'.'.join(map(str, NEEDED))} or newer."
        )
    file = io.BytesIO(source) if isinstance(source, bytes) else source
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
            # torch tells them by "constants.pkl"; the program itself lies under "code/".
            if any(name.endswith("/constants.pkl") or "/code/" in name for name in names):
                raise TorchScriptArchive("a TorchScript archive, which holds a program")
            if index := next((name for name in names if name.endswith(INDEX)), None):
                return _together(archive, index, device)
    if isinstance(file, io.BytesIO):
        file.seek(0)
    if is_safetensors(source):
        data = source if isinstance(source, bytes) else source.read_bytes()
        return {name: value.to(device) for name, value in load_safetensors(data).items()}
    with torch.serialization.safe_globals(HARMLESS):
        return torch.load(file, map_location=device, weights_only=True)


def is_safetensors(source: Path | bytes) -> bool:
    """True for safetensors, recognised by the beginning: the length of a JSON document, and its brace."""
    if isinstance(source, bytes):
        head = source[:9]
    else:
        with open(source, "rb") as stream:
            head = stream.read(9)
    return head[8:] == b"{" and int.from_bytes(head[:8], "little") < 100_000_000


def _together(archive: zipfile.ZipFile, index: str, device: str) -> dict[str, Any]:
    """The weights of all pieces that `rsctl.catalog.weight_files` put into one archive."""
    found: dict[str, Any] = {}
    names = archive.namelist()
    for name in pieces(archive.read(index), index):
        piece = archive.read(name) if name in names else b""
        if not piece or (zipfile.is_zipfile(io.BytesIO(piece)) and INDEX.encode() in piece):
            raise InputError(f"{index}: {name} isn't one of its files. Copy the folder again.")
        found |= load_tensors(piece, device)
    return found


def unusable(stored: Any) -> str:
    """Error message for the first tensor of a loaded file that has no values of its own in memory; else empty."""
    left, seen = [stored], set[int]()
    while left:
        one = left.pop()
        if isinstance(one, Tensor):
            if one.is_meta:
                return "holds a tensor on torch's 'meta' device: its shape without its values. Save the weights from a CPU or GPU"
            if one.layout != torch.strided or one.is_nested:
                return f"holds a sparse or nested tensor ({one.layout}). Save the weights dense: tensor.to_dense()"
            wanted = one.numel() * one.element_size()
            if not one.is_quantized and wanted > max(MOST_REPEATED, one.untyped_storage().nbytes()):
                return (
                    f"holds a tensor of shape {tuple(one.shape)} that repeats a few stored values: written out it would take "
                    f"{wanted / 1e9:,.1f} GB"
                )
        elif isinstance(one, (Mapping, list, tuple)) and id(one) not in seen:
            seen.add(id(one))
            left += one.values() if isinstance(one, Mapping) else one
    return ""
