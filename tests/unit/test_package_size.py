"""The size of a package and the time that it takes, for 50 runs of 10,000 images."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[1] / "benchmarks" / "packages.py"


@pytest.mark.long
def test_fifty_runs_of_ten_thousand_images(tmp_path: Path) -> None:
    """Processor time, which other work on this machine doesn't lengthen as much."""
    done = subprocess.run(
        [sys.executable, str(BENCHMARK), "--json"], capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)
    assert found["verified"] is True
    assert found["megabytes"] <= 30
    assert found["pack_cpu"] <= 20
    assert found["verify_cpu"] <= 30
