"""Files that the form reads and writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from rsctl.tui import actions
from rsctl.tui.compose import sweep_files


def test_what_was_submitted_leaves_no_copy_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    seen, answer = [], actions.Acted("done")

    def submit(file: Path, update: bool) -> actions.Acted:
        seen.append((file.name, file.read_text(), update))
        return answer

    monkeypatch.setattr(actions, "submit", submit)
    assert sweep_files.submit("mine", "sigma = 0.5\n", True) is answer
    assert seen == [("mine.toml", "sigma = 0.5\n", True)]
    assert not list(tmp_path.iterdir())
