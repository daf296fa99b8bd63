"""Reads files that torch wrote, without running anything of them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rsctl.errors import UnavailableError

NEEDED = (2, 6)
"""Before this release torch hands TorchScript archives to its interpreter, also where only weights are asked for."""

MOST_REPEATED = 16 << 20
"""Bytes up to which a tensor may repeat stored values, as a constant that was expanded does."""


class TorchScriptArchive(Exception):
    """A file that holds a TorchScript program."""


def load_tensors(source: Path | bytes, device: str = "cpu") -> Any:
    """Load a file as `torch.load(…, weights_only=True)` does; archives of TorchScript are refused before torch sees them.

    Raises
    ------
    TorchScriptArchive
        The file is one.
    UnavailableError
        This torch is too old to read files that one doesn't trust.
    """
    release = tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2])
    if release < NEEDED:
        raise UnavailableError(
            f"torch {torch.__version__} runs programs that stand in checkpoints while it reads them. Install torch "
            f"{'.'.join(map(str, NEEDED))} or newer."
        )
    file = io.BytesIO(source) if isinstance(source, bytes) else source
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
        # torch tells them by "constants.pkl"; the program itself lies under "code/".
        if any(name.endswith("/constants.pkl") or "/code/" in name for name in names):
            raise TorchScriptArchive("a TorchScript archive, which holds a program")
    if isinstance(file, io.BytesIO):
        file.seek(0)
    return torch.load(file, map_location=device, weights_only=True)


def unusable(stored: Any) -> str:
    """The sentence about the first tensor, of a file as it was loaded, that has no values of its own in memory; else empty."""
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
