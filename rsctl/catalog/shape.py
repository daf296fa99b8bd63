"""Shape of a data set on this machine: channels, size, classes, images per split. No decoding, no torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from rsctl.catalog import find, known_datasets
from rsctl.catalog.declare import DataSet, DataShape, Model, Parameters
from rsctl.errors import InputError, unknown


def parameters_of(
    kind: str, declaration: DataSet | Model, values: Mapping[str, Any] | Parameters
) -> Parameters:
    """`values` as the declaration's own parameters, checked and with its defaults; raises InputError that names ``kind.key``."""
    try:
        return declaration.parameters.model_validate(dict(values))
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            fields = declaration.parameters.model_fields
            raise InputError(f"{kind}: {unknown(f'parameter of {declaration.name}', key, fields)}") from error
        where = ".".join(filter(None, (kind, key)))
        if problem["type"] == "string_pattern_mismatch":
            about = declaration.parameters.model_fields[key].description or problem["msg"]
            raise InputError(f"{where}: '{problem['input']}' isn't {' '.join(about.split())}") from error
        raise InputError(f"{where}: {problem['msg']} ({declaration.name}).") from error


def shape_of(dataset: str, parameters: Mapping[str, Any] | Parameters, data_root: Path) -> DataShape:
    """The shape of a data set: the declared one, or that of its files where the declaration leaves it open.

    Raises InputError for an unknown data set, a wrong parameter, or files that are not laid out as expected.
    """
    declaration = find("data set", dataset, known_datasets())
    checked = parameters_of("dataset", declaration, parameters)
    if declaration.inspect is not None:
        return declaration.inspect(data_root, checked)
    if (
        declaration.size is None
        or declaration.classes is None
        or not {"train", "test"} <= declaration.counts.keys()
    ):
        raise InputError(
            f"The declaration of the data set '{dataset}' needs size, classes and counts of train and test, or `inspect`."
        )
    return DataShape(declaration.channels, declaration.size, declaration.classes, declaration.counts)
