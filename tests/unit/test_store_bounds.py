"""Values that the store's records can't hold are refused in the sweep file, before anything is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from chain import tiny

from rsctl.config.sweep import build_sweep
from rsctl.errors import InputError


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("description", {"description": "x" * 100_001}),
        ("certification.radii", {"certification": {"radii": [k / 1e5 for k in range(10_001)]}}),
        ("certification.radii", {"certification": {"radii": [0.0, 1e301]}}),
        ("certification.skip", {"certification": {"skip": 3_000_000_000}}),
        ("certification.start", {"certification": {"start": 3_000_000_000}}),
        ("certification.max_images", {"certification": {"max_images": 3_000_000_000}}),
        ("resources.training.threads", {"resources": {"training": {"threads": 70_000}}}),
        ("resources.training.minutes", {"resources": {"training": {"minutes": 3_000_000_000}}}),
        ("resources.training.memory_gb", {"resources": {"training": {"memory_gb": 1e7}}}),
    ],
)
def test_what_no_record_can_hold_is_refused(key: str, values: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=key):
        build_sweep(tiny(**values), "s.toml", tmp_path)
