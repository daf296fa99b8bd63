"""Writes the golden files from the code at hand: `python tests/golden/make.py run-ids`; only where a change is meant to alter them."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]


def run_ids() -> None:
    import ids

    with tempfile.TemporaryDirectory() as folder:
        ids.folders(Path(folder))
        values = {"fields": ids.of_fields(), "sweeps": ids.of_sweeps(Path(folder))}
    (HERE / "run_ids.json").write_text(json.dumps(values, indent=0, sort_keys=True) + "\n")


if __name__ == "__main__":
    {"run-ids": run_ids}[sys.argv[1]]()
