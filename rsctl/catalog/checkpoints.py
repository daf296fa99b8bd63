"""A model taken from a file instead of being trained: `method = {name = "checkpoint", file = …}`.

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

from rsctl.catalog import known_methods
from rsctl.catalog.declare import Method, ModelTask, Parameters
from rsctl.catalog.weight_files import content, require_weights, weights_file
from rsctl.errors import InputError, unknown

NORMALISATIONS = ("dataset", "none", "centre", "half", "imagenet", "mnist")


def explicit(text: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """`0.485,0.456,0.406/0.225,0.225,0.225`: mean and standard deviation per channel; raises InputError."""
    mean, slash, std = text.partition("/")
    if not slash:
        raise InputError(
            f"{unknown('normalisation', text, NORMALISATIONS)} Or give numbers: mean/standard deviation, with commas between channels."
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
    """The file, relative to the working directory. It is copied into the store and not needed afterwards."""
    sha256: Annotated[str, Field(pattern="^([0-9a-f]{64})?$")] = ""
    """SHA-256 of its content; computed if left out, compared if given."""
    normalisation: Normalisation = "dataset"
    """Normalisation that the network expects for images in [0, 1]: `dataset` subtracts the data set's mean and divides by its
    standard deviation, `centre` only subtracts the mean, `none` leaves them, `half` is (x - 0.5) / 0.5, `imagenet` and `mnist` are the values
    usual there; or numbers, `mean,…/standard deviation,…`. If the file stores its own, that is used and any other is refused."""
    part: str = Field("", json_schema_extra={"neutral": ""})
    """The branch of the file to take the network from, such as `ema`, if it has several; empty takes the usual one."""
    anyway: bool = Field(False, json_schema_extra={"neutral": False})
    """Accept it even if it classifies almost nothing correctly, or another normalisation does better."""


def identified(values: dict[str, Any]) -> dict[str, Any]:
    """The same values with the absolute path of the file and its hash; raises InputError."""
    file, stated = values.get("file"), values.get("sha256", "")
    if not isinstance(file, str) or not file:
        raise InputError("method.file: is required: the checkpoint to import.")
    try:
        path = weights_file(Path(file).expanduser().resolve())
        status = require_weights(path)
        found = _sha256(path, status.st_mtime_ns, status.st_size)
    except InputError as error:
        raise InputError(f"method.file: {error}") from error
    except (OSError, ValueError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"method.file: {file} can't be read ({reason}).") from error
    if stated and stated != found:
        raise InputError(
            f"method.sha256: doesn't match {path}, which has {found}. Use the right file, or correct the hash."
        )
    return {**values, "file": str(path), "sha256": found}


@lru_cache(maxsize=64)
def _sha256(path: Path, changed: int, size: int) -> str:
    return hashlib.sha256(content(path)).hexdigest()


CHECKPOINT = ModelTask(
    name="checkpoint",
    title="A published checkpoint",
    citation="the file",
    revision=1,
    parameters=CheckpointParameters,
    implementation="jobs.import_checkpoint",
    about="Takes a network from a file in place of training one: of PyTorch, of safetensors, or a folder of accelerate. From then on it "
    "is a model like any other, named by the content of the file.",
    use_when="To certify, verify or attack weights that others published; `rsctl certify FILE` does it without a sweep file.",
    example={"method.file": "checkpoint.pth.tar"},
)


def model_sources() -> dict[str, Method | ModelTask]:
    """Everything that `method` of a sweep file can name: the methods, and the import of a checkpoint."""
    return {**known_methods(), CHECKPOINT.name: CHECKPOINT}
