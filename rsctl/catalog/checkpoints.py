"""A model taken from a file instead of being trained, as if that were a method: `method = {name = "checkpoint", file = …}`.

Everything that is known of a trained model is then known of it: its run, its counts, its place in tables and plots.
Reading the file is up to `jobs.import_checkpoint`.
"""

from __future__ import annotations

import hashlib
import math
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from rsctl.catalog.declare import Method, Parameters
from rsctl.catalog.weight_files import content, require_weights, weights_file
from rsctl.errors import InputError, unknown

NORMALISATIONS = ("dataset", "none", "centre", "half", "imagenet", "mnist")


def explicit(text: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """`0.485,0.456,0.406/0.225,0.225,0.225`: mean and standard deviation per channel; raises InputError."""
    mean, slash, std = text.partition("/")
    if not slash:
        raise InputError(
            f"{unknown('normalisation', text, NORMALISATIONS)} Or numbers: mean/standard deviation, with commas between channels."
        )
    try:
        values = tuple(tuple(float(part) for part in one.split(",")) for one in (mean, std))
    except ValueError as error:
        raise InputError(
            f"'{text}' isn't mean/standard deviation, such as 0.5,0.5,0.5/0.25,0.25,0.25."
        ) from error
    if len(values[0]) != len(values[1]) or not all(math.isfinite(value) for one in values for value in one):
        raise InputError(f"'{text}' needs as many finite means as standard deviations.")
    if min(values[1]) <= 0:
        raise InputError(f"'{text}' needs standard deviations above 0.")
    return values[0], values[1]


def normalisation(text: str) -> str:
    """A known name, or numbers; raises InputError."""
    if text not in NORMALISATIONS:
        explicit(text)
    return text


def _checked(text: str) -> str:
    try:
        return normalisation(text)
    except InputError as error:
        raise ValueError(str(error).rstrip(".")) from error


Normalisation = Annotated[str, AfterValidator(_checked)]


class CheckpointParameters(Parameters):
    """A published checkpoint."""

    file: str = Field("", json_schema_extra={"identity": False})
    """The file, from where the command is started. Copied into the store, so it may go away afterwards."""
    sha256: Annotated[str, Field(pattern="^([0-9a-f]{64})?$")] = ""
    """Of its content; worked out where it isn't given, compared where it is."""
    normalisation: Normalisation = "dataset"
    """What the network expects to be done to images in [0, 1]: `dataset` subtracts the data set's mean and divides by its
    standard deviation, `centre` only subtracts the mean, `none` leaves them, `half` is (x - 0.5) / 0.5, `imagenet` and `mnist` are the values
    usual there; or numbers, `mean,…/standard deviation,…`. A file that stores its own is taken with that, and another refused."""
    part: str = Field("", json_schema_extra={"neutral": ""})
    """The branch of the file to take the network from, such as `ema`, where it holds several; empty takes the usual one."""
    anyway: bool = Field(False, json_schema_extra={"neutral": False})
    """Take it even where it classifies next to nothing, or another normalisation does better."""


def identified(values: dict[str, Any]) -> dict[str, Any]:
    """The same values with the absolute path of the file and its hash; raises InputError."""
    file, said = values.get("file"), values.get("sha256", "")
    if not isinstance(file, str) or not file:
        raise InputError("method.file: is required: the checkpoint to take.")
    try:
        path = weights_file(Path(file).expanduser().resolve())
        status = require_weights(path)
        found = _sha256(path, status.st_mtime_ns, status.st_size)
    except InputError as error:
        raise InputError(f"method.file: {error}") from error
    except (OSError, ValueError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"method.file: {file} can't be read ({reason}).") from error
    if said and said != found:
        raise InputError(f"method.sha256: {path} has {found}: it is another file than the sweep asks for.")
    return {**values, "file": str(path), "sha256": found}


@lru_cache(maxsize=64)
def _sha256(path: Path, changed: int, size: int) -> str:
    return hashlib.sha256(content(path)).hexdigest()


CHECKPOINT = Method(
    name="checkpoint",
    title="A published checkpoint",
    citation="the file",
    revision=1,
    parameters=CheckpointParameters,
    implementation="jobs.import_checkpoint",
)
