"""Content hashes of a computation, independent of where and how fast it runs.

A field declared with `json_schema_extra={"identity": False}` is never hashed. A field added later is declared
with `{"neutral": value}` and hashed only where it differs from that value, so that existing runs keep
their names.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel


def identity(model: BaseModel) -> dict[str, Any]:
    """The fields that define the computation, as plain JSON values."""
    result: dict[str, Any] = {}
    for name, info in type(model).model_fields.items():
        extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
        value = getattr(model, name)
        if extra.get("identity") is False or ("neutral" in extra and value == extra["neutral"]):
            continue
        result[name] = _plain(value)
    return result


def _plain(value: Any) -> Any:
    if isinstance(value, list) and value and all(isinstance(one, BaseModel) for one in value):
        return [identity(one) for one in value]
    return identity(value) if isinstance(value, BaseModel) else value


def completed(model: type[BaseModel], stored: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a stored spec, with the neutral ones that `identity` omitted."""
    extras = {name: info.json_schema_extra for name, info in model.model_fields.items()}
    neutral = {
        name: extra["neutral"]
        for name, extra in extras.items()
        if isinstance(extra, dict) and "neutral" in extra
    }
    return {**neutral, **stored}


def content_hash(values: dict[str, Any]) -> str:
    """SHA-256 (hex) of the values in canonical JSON."""
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
