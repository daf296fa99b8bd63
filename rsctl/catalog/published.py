"""A model taken from a file instead of being trained, as if that were a method: `method = {name = "checkpoint", file = …}`.

Everything that is known of a trained model is then known of it: its run, its counts, its place in tables and plots.
Reading the file is up to `jobs.published`.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from rsctl.catalog.declare import Method, Parameters
from rsctl.errors import InputError

Normalisation = Literal["dataset", "none", "centre"]


class CheckpointParameters(Parameters):
    """A published checkpoint."""

    file: str = Field("", json_schema_extra={"identity": False})
    """The file, from where the command is started. Copied into the store, so it may go away afterwards."""
    sha256: Annotated[str, Field(pattern="^([0-9a-f]{64})?$")] = ""
    """Of its content; worked out where it isn't given, compared where it is."""
    normalisation: Normalisation = "dataset"
    """What the network expects to be done to images in [0, 1]: `dataset` subtracts the data set's mean and divides by its
    standard deviation, `centre` only subtracts the mean, `none` leaves them."""
    anyway: bool = Field(False, json_schema_extra={"neutral": False})
    """Take it even where it classifies next to nothing, or another normalisation does better."""


def identified(values: dict[str, Any]) -> dict[str, Any]:
    """The same values with the absolute path of the file and its hash; raises InputError."""
    file, said = values.get("file"), values.get("sha256", "")
    if not isinstance(file, str) or not file:
        raise InputError("method.file: is required: the checkpoint to take.")
    path = Path(file).expanduser().resolve()
    try:
        status = path.stat()
        found = _sha256(path, status.st_mtime_ns, status.st_size)
    except OSError as error:
        raise InputError(f"method.file: {path} can't be read ({error.strerror}).") from error
    if said and said != found:
        raise InputError(f"method.sha256: {path} has {found}: it is another file than the sweep asks for.")
    return {**values, "file": str(path), "sha256": found}


@lru_cache(maxsize=64)
def _sha256(path: Path, changed: int, size: int) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


CHECKPOINT = Method(
    name="checkpoint",
    title="A published checkpoint",
    citation="the file",
    revision=1,
    parameters=CheckpointParameters,
    implementation="jobs.published",
)
