"""Which data sets are on this machine."""

from __future__ import annotations

from pathlib import Path

from rsctl.catalog import known_datasets
from rsctl.catalog.declare import DataSet


def presence(data_root: Path) -> list[tuple[str, str]]:
    """(name, sentence) of every declared data set."""
    return [(name, _sentence(dataset, data_root)) for name, dataset in known_datasets().items()]


def _sentence(dataset: DataSet, data_root: Path) -> str:
    if not dataset.where:
        return f"here: {dataset.title}"
    if not dataset.paths:
        return f"{dataset.title}: give its `path`; expected {dataset.where}"
    if all((data_root / path).exists() for path in dataset.paths):
        return f"here: {dataset.title}"
    return f"missing: {dataset.title}. Expected: {dataset.where}"
