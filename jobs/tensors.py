"""Reads files that torch wrote, without running anything of them."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import torch

from rsctl.errors import UnavailableError

NEEDED = (2, 6)
"""Before this release torch hands TorchScript archives to its interpreter, also where only weights are asked for."""


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
