"""Many files at once: each whole, the first that exists ends it, nothing is left over."""

from __future__ import annotations

from pathlib import Path

import pytest

from rsctl.errors import UnavailableError
from rsctl.store.files import publish_all


def test_files_are_created_in_order_up_to_the_first_that_exists(tmp_path: Path) -> None:
    folder = tmp_path / "tasks"
    files = {f"{n:04d}.json": b"%d" % n for n in range(40)}
    assert publish_all(folder, files) == 40
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == files
    more = {f"{n:04d}.json": b"other" for n in (100, 101, 7, 102)}
    assert publish_all(folder, more) == 2
    assert (folder / "0007.json").read_bytes() == b"7"
    assert not (folder / "0102.json").exists()
    assert sorted(file.name for file in folder.iterdir()) == sorted([*files, "0100.json", "0101.json"])


def test_a_disk_that_fills_up_leaves_no_temporary_file(tmp_path: Path) -> None:
    """The second of three can't be written (a folder stands where its folder should be made)."""
    (tmp_path / "file").write_text("")
    with pytest.raises(UnavailableError):
        publish_all(tmp_path, {"0.json": b"0", "file/1.json": b"1", "2.json": b"2"})
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
