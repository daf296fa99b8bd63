"""Fixtures of several modules."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from rsctl import catalog
from rsctl.catalog.datasets import DATASETS

Declare = Callable[..., None]


@pytest.fixture
def declare(monkeypatch: pytest.MonkeyPatch) -> Iterator[Declare]:
    """Change a declaration: data sets with a handful of images instead of thousands."""

    def change(name: str, **values: Any) -> None:
        changed = tuple(replace(d, **values) if d.name == name else d for d in DATASETS)
        monkeypatch.setattr(catalog.datasets, "DATASETS", changed)
        catalog.known_datasets.cache_clear()

    yield change
    monkeypatch.undo()
    catalog.known_datasets.cache_clear()
