"""Availability of data sets on this machine."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rsctl.catalog import known_datasets
from rsctl.catalog.datasets import ImageFolder
from rsctl.catalog.declare import DataSet
from rsctl.catalog.folders import SPLITS, folder_root, inspect_folder
from rsctl.catalog.listing import folders_in
from rsctl.errors import UserError
from rsctl.text import counted


def presence(data_root: Path) -> list[tuple[str, str]]:
    """(name, sentence) of every declared data set."""
    return [(name, _sentence(dataset, data_root)) for name, dataset in known_datasets().items()]


def incomplete(dataset: DataSet, data_root: Path, reason: str) -> str:
    """Message on a data set's files: the problem, the data root, and the expected files."""
    return (
        f"dataset: {dataset.name} isn't complete and readable below the data root {data_root} ({reason}). "
        f"Expected: {dataset.where}."
    )


def absent(dataset: DataSet, data_root: Path) -> str:
    """The same message if one of its folders is missing or has the wrong layout; else empty. No file is read."""
    lacking = [path for path in dataset.paths if not (data_root / path).exists()]
    wrong = f"{' and '.join(lacking)} missing" if lacking else misplaced(dataset, data_root)
    return incomplete(dataset, data_root, wrong) if wrong else ""


def lies_below(data_root: Path, name: str, parameters: Mapping[str, Any]) -> bool:
    """Return whether the folders of a data set exist with this data root."""
    dataset = known_datasets().get(name)
    if dataset is None:
        return False
    path = parameters.get("path")
    if isinstance(path, str):
        return all((folder_root(data_root, path) / split).is_dir() for split in SPLITS)
    return not absent(dataset, data_root)


def misplaced(dataset: DataSet, data_root: Path) -> str:
    """Problems of a data set's existing folders; else empty."""
    return dataset.layout(data_root, dataset.classes or 0) if dataset.layout else ""


def _sentence(dataset: DataSet, data_root: Path) -> str:
    if not dataset.where:
        return f"here: {dataset.title}"
    if not dataset.paths:
        return f"{dataset.title}: set its `path`; expected {dataset.where}"
    if not all((data_root / path).exists() for path in dataset.paths):
        return f"missing: {dataset.title}. Expected: {dataset.where}"
    if wrong := misplaced(dataset, data_root):
        return f"unprepared: {dataset.title}: {wrong}. Expected: {dataset.where}"
    return f"here: {dataset.title}"


def own_folders(data_root: Path) -> list[str]:
    """Names of the folders in the data root that can be taken as an `imagefolder`."""
    if not data_root.is_dir():
        return []
    declared = {path.partition("/")[0] for one in known_datasets().values() for path in one.paths}
    return [
        name
        for name in folders_in(data_root)
        if name not in declared and all((data_root / name / split).is_dir() for split in SPLITS)
    ]


def folder_sentence(data_root: Path, path: str) -> str:
    """Numbers of classes and images of an `imagefolder`, and the files left out; or its problem."""
    try:
        shape = inspect_folder(data_root, ImageFolder(path=path), values=False)
    except UserError as error:
        return str(error)
    images = ", ".join(f"{count:,} {split}" for split, count in shape.counts.items())
    return f"here: {counted(shape.classes, 'class', 'classes')}, {images} images. {shape.left_out}".rstrip()


def parameter_lines(dataset: DataSet) -> list[str]:
    """`key = default: description` of each parameter of a `[dataset]` table besides the name."""
    lines = []
    for key, field in dataset.parameters.model_fields.items():
        given = key if field.is_required() else f"{key} = {json.dumps(field.default)}"
        lines.append(f"{given}: {field.description}")
    return lines
