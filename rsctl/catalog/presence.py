"""Which data sets are on this machine."""

from __future__ import annotations

import json
from pathlib import Path

from rsctl.catalog import known_datasets
from rsctl.catalog.declare import DataSet


def presence(data_root: Path) -> list[tuple[str, str]]:
    """(name, sentence) of every declared data set."""
    return [(name, _sentence(dataset, data_root)) for name, dataset in known_datasets().items()]


def incomplete(dataset: DataSet, data_root: Path, reason: str) -> str:
    """What is wrong with the files of a data set, where they were looked for, and what has to lie there."""
    return (
        f"dataset: {dataset.name} isn't complete and readable below the data root {data_root} ({reason}). "
        f"Expected: {dataset.where}."
    )


def absent(dataset: DataSet, data_root: Path) -> str:
    """The same sentence, where a folder that belongs to it isn't there; else empty. No file is read."""
    lacking = [path for path in dataset.paths if not (data_root / path).exists()]
    return incomplete(dataset, data_root, f"{' and '.join(lacking)} not there") if lacking else ""


def _sentence(dataset: DataSet, data_root: Path) -> str:
    if not dataset.where:
        return f"here: {dataset.title}"
    if not dataset.paths:
        return f"{dataset.title}: give its `path`; expected {dataset.where}"
    if all((data_root / path).exists() for path in dataset.paths):
        return f"here: {dataset.title}"
    return f"missing: {dataset.title}. Expected: {dataset.where}"


def parameter_lines(dataset: DataSet) -> list[str]:
    """`key = default: what it means` of each parameter that a `[dataset]` table may have beside the name."""
    lines = []
    for key, field in dataset.parameters.model_fields.items():
        given = key if field.is_required() else f"{key} = {json.dumps(field.default)}"
        lines.append(f"{given}: {field.description}")
    return lines
