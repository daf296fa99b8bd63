"""Processes of the local queue find the packages that the caller finds, and run in another folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from rsctl.cluster.local.processes import start_process


def test_a_relative_folder_of_pythonpath_is_that_of_the_caller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "probe_of_paths.py").write_text("import os\nprint(os.getcwd())\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", "mine:")
    log = tmp_path / "log"
    assert start_process("probe_of_paths", log=log, environment={}).wait(30) == 0, log.read_text()
    assert log.read_text() == "/\n"
