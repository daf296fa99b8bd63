"""Tables of dsrs on disk: the same numbers, and never others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rsctl.certificates import dsrs_cache
from rsctl.certificates.dsrs_cache import STEP, TOGETHER, folder, tangents_at
from rsctl.certificates.dsrs_table import Shell, tangents

D, K, SHELL = 64, 20, Shell(0.0, 7.5)


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    dsrs_cache._some.cache_clear()


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The shifts that were worked out."""
    shifts: list[float] = []

    def watch(d: int, k: int, shell: Shell, shift: float) -> object:
        shifts.append(shift)
        return tangents(d, k, shell, shift)

    monkeypatch.setattr(dsrs_cache, "tangents", watch)
    return shifts


def same(node: int) -> None:
    kept, new = tangents_at(D, K, SHELL, node), tangents(D, K, SHELL, node * STEP)
    for one, other in zip(kept, new, strict=True):
        assert one.dtype == np.float64
        np.testing.assert_array_equal(one, other)


def new_process() -> None:
    dsrs_cache._some.cache_clear()


def test_what_is_read_is_what_was_worked_out(made: list[float]) -> None:
    for node in (1, 2, TOGETHER, TOGETHER + 1, 3 * TOGETHER):
        same(node)
    assert len(made) == 3 * TOGETHER  # parts 0, 1 and 2, each once
    new_process()
    for node in (1, TOGETHER, TOGETHER + 1, 3 * TOGETHER):
        same(node)
    assert len(made) == 3 * TOGETHER
    assert len(list(folder().iterdir())) == 3


@pytest.mark.parametrize("spoil", ["flip", "cut", "empty", "other"])
def test_a_spoilt_file_is_made_anew(made: list[float], spoil: str) -> None:
    same(1)
    (path,) = folder().iterdir()
    data = path.read_bytes()
    if spoil == "flip":
        path.write_bytes(data[:-400] + bytes([data[-400] ^ 1]) + data[-399:])
    elif spoil == "cut":
        path.write_bytes(data[:1000])
    elif spoil == "empty":
        path.write_bytes(b"")
    else:  # whole, and of another shell under this name
        tangents_at(D, K, Shell(7.5, np.inf), 1)
        (other,) = set(folder().iterdir()) - {path}
        path.write_bytes(other.read_bytes())
    before = len(made)
    new_process()
    same(1)
    assert len(made) == before + TOGETHER
    new_process()
    same(1)
    assert len(made) == before + TOGETHER  # it was put right on the disk too
    assert path.read_bytes() == data


@pytest.mark.parametrize(
    "other", [(D, K, Shell(0.0, np.nextafter(7.5, 8)), 1), (D, K + 1, SHELL, 1), (D + 1, K, SHELL, 1)]
)
def test_another_question_has_another_file(other: tuple[int, int, Shell, int]) -> None:
    tangents_at(D, K, SHELL, 1)
    tangents_at(*other)
    assert len(list(folder().iterdir())) == 2


def test_another_calculation_reads_nothing_of_this_one(
    made: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    same(1)
    new_process()
    monkeypatch.setattr(dsrs_cache, "_version", lambda: "another source or library")
    same(1)
    assert len(made) == 2 * TOGETHER


def test_where_nothing_can_be_written_the_tables_live_in_the_process(
    made: list[float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    same(1)
    same(2)
    assert len(made) == TOGETHER


def test_without_a_folder_for_caches_it_is_the_one_at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", "/home/somebody")
    assert folder() == Path("/home/somebody/.cache/rsctl/dsrs")
