"""The file beside exported logs with the metadata that these can't hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rsctl.errors import RefusedError, UserError
from rsctl.store.fields import LOGS
from rsctl.store.files import read_json, to_json

MANIFEST = "rsctl-logs.json"
"""Its name."""


def earlier_logs(folder: Path, force: bool) -> dict[str, Any]:
    """The entries of earlier exports into this folder; raises RefusedError where rsctl didn't write the file of that name."""
    file = folder / MANIFEST
    if not file.exists():
        return {}
    try:
        return dict(read_json(file, LOGS)["logs"])
    except UserError as error:
        if force:
            return {}
        raise RefusedError(
            f"{file}: was not written by rsctl, or edited since. Give another folder, or --force to replace it."
        ) from error


def with_earlier(folder: Path, data: bytes, *, force: bool = False) -> bytes:
    """The manifest of an export elsewhere, together with the entries of earlier exports into this folder.

    Raises
    ------
    ValueError
        `data` is not a manifest.
    RefusedError
        rsctl didn't write the folder's own.
    """
    new = LOGS.adapter.validate_json(data)
    return to_json({"rsctl": "logs", "logs": {**earlier_logs(folder, force), **new["logs"]}})
