"""Networks that a Python function returns."""

from __future__ import annotations

import importlib
from typing import Any

from torch import nn

from jobs.models.library import library_network
from rsctl.errors import InputError


def build(name: str, classes: int, channels: int, size: int, *, factory: str, **shared: Any) -> nn.Module:
    module, _, function = factory.partition(":")
    try:
        made = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise InputError(
            f"model.factory: {factory} can't be imported here ({error}). Its package must be installed, or its folder on "
            "PYTHONPATH, wherever tasks run; the current folder isn't searched."
        ) from error
    return library_network(made, f"model: {factory}", classes, channels, size, **shared)
