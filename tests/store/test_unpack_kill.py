"""Unpacking killed at random moments, by SIGKILL: it is repeated, and everything is there once."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from package_cases import packed
from report_cases import make_store

from rsctl.report.tables.formats import render
from rsctl.results.sweep import sweep_results
from rsctl.store.layout import Store

CODE = "import sys; from pathlib import Path; from rsctl.store.layout import Store; from rsctl.package.unpacking import unpack; print(flush=True); unpack(Path(sys.argv[1]), Store(Path(sys.argv[2])))"  # fmt: skip


@pytest.mark.long
def test_twenty_kills_of_an_unpacking(tmp_path: Path) -> None:
    certification = {"n0": 10, "n": 1000, "certificates": ["cohen"], "radii": [0.0, 0.25]}
    store, _ = make_store(tmp_path / "store", grid={"seed": list(range(6))}, certification=certification)
    file, other, rng = packed(store, tmp_path / "out"), Store(tmp_path / "other"), random.Random(5)
    words = [sys.executable, "-c", CODE, str(file), str(other.root)]
    killed, longest = 0, 1.0
    for _ in range(20):
        process = subprocess.Popen(words, stdout=subprocess.PIPE, start_new_session=True)
        assert process.stdout
        process.stdout.readline()  # it begins now
        started = time.monotonic()
        try:
            process.wait(rng.uniform(0, longest))
            longest = 0.9 * (time.monotonic() - started)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            killed += 1
            process.wait()
        if "sweep" in other.sweep_names():
            assert sweep_results(other, "sweep").rows
    assert killed > 5
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    one, two = sweep_results(store, "sweep"), sweep_results(other, "sweep")
    one.notes.clear()
    two.notes.clear()
    assert render(one, "json") == render(two, "json")
    assert len(list(other.runs("counts"))) == 6
