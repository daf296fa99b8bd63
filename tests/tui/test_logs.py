"""Logs are read in windows, whatever their size."""

from __future__ import annotations

from pathlib import Path

from rsctl.tui.sweeps import log_files


def _numbered(path: Path, lines: int) -> Path:
    path.write_text("".join(f"line {i:07d}\n" for i in range(lines)))
    return path


def test_only_the_end_of_a_large_log_is_read(tmp_path: Path) -> None:
    window = log_files.last_window(_numbered(tmp_path / "log", 200_000))
    assert window.lines[-1] == "line 0199999"
    assert window.lines[0].startswith("line ")
    assert len("".join(window.lines)) < log_files.WINDOW
    assert window.end == window.size


def test_windows_join_without_a_gap(tmp_path: Path) -> None:
    """Going up from the end one meets every line."""
    path = _numbered(tmp_path / "log", 60_000)
    window = log_files.last_window(path)
    met = set(window.lines)
    for _ in range(200):
        if window.start == 0:
            break
        window = log_files.window_around(path, window.offsets[0])
        met |= set(window.lines)
    assert met == {f"line {i:07d}" for i in range(60_000)}


def test_the_last_error_is_found_across_chunks(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(log_files, "_CHUNK", 1000)
    lines = [f"line {i:05d}" for i in range(2000)]
    lines[700], lines[1500] = "RuntimeError: first", "torch: CUDA out of memory"
    path = tmp_path / "log"
    path.write_text("\n".join(lines))
    second = log_files.last_error(path, path.stat().st_size)
    assert second is not None
    window = log_files.window_around(path, second)
    assert window.lines[window.offsets.index(second)] == lines[1500]
    first = log_files.last_error(path, second)
    assert first is not None
    window = log_files.window_around(path, first)
    assert window.lines[window.offsets.index(first)] == lines[700]
    assert log_files.last_error(path, first) is None


def test_a_log_without_line_breaks_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"\r".join(b"%d%%" % (i % 100) for i in range(500_000)))
    window = log_files.last_window(path)
    assert window.lines == ("99%",)


def test_a_missing_log_is_an_empty_window(tmp_path: Path) -> None:
    assert log_files.last_window(tmp_path / "none").lines == ()
