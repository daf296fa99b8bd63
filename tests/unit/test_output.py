"""A table or figure replaces what rsctl wrote, and nothing that is somebody's own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from report_cases import make_store

from rsctl.cli.app import run
from rsctl.errors import InputError, RefusedError
from rsctl.report.figures.draw import plot
from rsctl.report.output import is_ours, write
from rsctl.report.radius_logs.manifest import MANIFEST
from rsctl.report.tables.formats import FORMATS


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    store, _ = make_store(tmp_path)
    monkeypatch.setenv("RSCTL_STORE", str(store.root))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_table_replaces_an_older_one_of_any_format_and_no_other_file(folder: Path) -> None:
    written = []
    for form in (*FORMATS, *FORMATS):
        assert run(["export", "sweep", "--format", form, "-o", "table"]) == 0
        written.append(Path("table").read_bytes())
    assert written[:4] == written[4:]
    Path("table").write_text("# sweep\n\nmy own notes\n")
    assert run(["export", "sweep", "-o", "table"]) == 2
    assert Path("table").read_text().endswith("my own notes\n")
    assert run(["export", "sweep", "-o", "table", "--force"]) == 0
    assert Path("table").read_bytes() == written[0]


def test_what_is_there_is_named_with_the_way_out(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.md").write_text("mine")
    assert run(["export", "sweep", "-o", "mine.md"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("rsctl: mine.md: exists")
    assert "--force" in said


@pytest.mark.parametrize("form", ["md", "latex"])
def test_a_table_that_was_edited_by_hand_is_kept(folder: Path, form: str) -> None:
    assert run(["export", "sweep", "--format", form, "-o", "table"]) == 0
    text = Path("table").read_text()
    Path("table").write_text(text.replace("gaussian", "Ours", 1))
    assert run(["export", "sweep", "--format", form, "-o", "table"]) == 2
    assert "Ours" in Path("table").read_text()
    # What was added below isn't rsctl's either.
    Path("table").write_text(text + "more\n")
    assert run(["export", "sweep", "--format", form, "-o", "table"]) == 2


@pytest.mark.parametrize("suffix", [".pdf", ".svg", ".png"])
def test_a_figure_replaces_a_figure_of_rsctl_alone(tmp_path: Path, suffix: str) -> None:
    from matplotlib.figure import Figure

    store, _ = make_store(tmp_path)
    file = tmp_path / f"figure{suffix}"
    plot(store, "sweep", file)
    ours = file.read_bytes()
    assert is_ours(ours)
    Figure().savefig(file)
    theirs = file.read_bytes()
    with pytest.raises(RefusedError, match="--force"):
        plot(store, "sweep", file)
    assert file.read_bytes() == theirs
    if suffix == ".svg":
        plot(store, "sweep", file, force=True)
        assert file.read_bytes() == ours


def test_logs_replace_their_own(folder: Path) -> None:
    for _ in range(2):
        assert run(["export", "sweep", "--format", "tsv", "-o", "logs"]) == 0
    (log,) = Path("logs").glob("*.tsv")
    log.write_text("mine")
    assert run(["export", "sweep", "--format", "tsv", "-o", "logs"]) == 2
    assert log.read_text() == "mine"
    log.unlink()
    said = Path("logs", MANIFEST)
    said.write_text("{}")
    assert run(["export", "sweep", "--format", "tsv", "-o", "logs"]) == 2
    assert said.read_text() == "{}"
    assert run(["export", "sweep", "--format", "tsv", "-o", "logs", "--force"]) == 0


def test_a_device_or_a_folder_is_never_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for place in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(InputError, match=str(place)):
            write(place, "md", b"x", force=True)
    (tmp_path / "empty").touch()
    write(tmp_path / "empty", "md", b"x")
    assert (tmp_path / "empty").read_bytes().startswith(b"x<!-- rsctl ")
