"""What people write into sweep files and names: where a key lands, which images, letters of all scripts, endings of files."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from chain import Chain, tiny, toml
from report_cases import make_row

import rsctl.results
from rsctl.cli.app import run
from rsctl.config.permutation import chosen_by, images_of
from rsctl.config.sweep import load_sweep
from rsctl.errors import InputError
from rsctl.plan.notes import notes_of
from rsctl.plan.plan import make_plan
from rsctl.report.tables.formats import by_ending, render
from rsctl.report.typeset import escape_latex
from rsctl.results.sweep import Results
from rsctl.store.tables import read_table

PLAIN = toml(tiny(description="x"))


def checked(chain: Chain, text: str | bytes) -> list[str]:
    """The notes of a sweep file; raises InputError where it is refused."""
    file = chain.folder / "sweep.toml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return notes_of(make_plan(load_sweep(file, chain.place.data), str(file)), chain.place)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        # The last table of this file is [resources]; each key belongs to the top.
        (lambda t: t.replace("sigma = 0.5\n", "") + "\n[certification.x]\n", ["sigma: is required"]),
        (lambda t: t + "\nseed = 3\n", [".seed: no such key", "'seed' belongs to the top of the file: move it above"]),
        (lambda t: t + '\ndescription = "mine"\n', [".description: no such key", "move it above the first table"]),
        (lambda t: t.replace("[certification]", "[certification]\ncluster = 'gpu'"), ["certification.cluster", "move it above"]),
        (lambda t: t.replace("sigma = 0.5\n", "").replace("[certification]", "[certification]\nsigma = 0.5"), ["sigma: is required. The file has it under [certification]"]),
        (lambda t: t.replace("[training]", "[training]\nnoise = 'uniform'"), ["training.noise", "belongs to the top"]),
        (lambda t: t.replace("[model]", "[model]\nseed = 3"), ["model.seed", "belongs to the top"]),
        (lambda t: t.encode("utf-16"), ["it is not UTF-8 text", "Save it as UTF-8"]),
    ],
)  # fmt: skip
def test_a_key_that_lands_in_the_last_table_is_asked_about(
    chain: Chain, change: Any, words: list[str]
) -> None:
    with pytest.raises(InputError) as refused:
        checked(chain, change(PLAIN))
    assert all(word in str(refused.value) for word in words), refused.value


@pytest.mark.parametrize(
    ("change", "note"),
    [
        (lambda t: t.replace("[certification]", "[certification]\nseed = 3"), "certification.seed = 3 is under [certification], and seed isn't set at the top"),
        (lambda t: "seed = 3\n" + t.replace("[certification]", "[certification]\nseed = 3"), ""),
        (lambda t: t.replace("sigma = 0.5", "grid.sigma = [0.5]").replace("[certification]", "[certification]\nsigma = 0.25"), ""),
        (lambda t: t, ""),
        (lambda t: "\ufeff" + t, ""),  # as Windows saves it
        (lambda t: ("\ufeff" + t).replace("\n", "\r\n"), ""),
    ],
)  # fmt: skip
def test_one_that_both_have_is_a_question_in_a_note(chain: Chain, change: Any, note: str) -> None:
    said = " ".join(checked(chain, change(PLAIN)))
    assert note in said if note else "is under [" not in said


def test_a_description_of_two_lines_stays_two_lines(chain: Chain, capsys: pytest.CaptureFixture[str]) -> None:
    file = chain.file(PLAIN.replace('description = "x"', 'description = """First *line*\nand a second"""'))
    chain.plan(tiny(description="First *line*\nand a second"))
    assert run(["export", "tiny"]) == 0
    shown = capsys.readouterr().out
    assert "First \\*line\\*\nand a second\n" in shown
    assert "�" not in shown
    assert load_sweep(file, chain.place.data).description == "First *line*\nand a second"


@pytest.mark.parametrize(
    ("start", "stop", "skip", "most", "expected"),
    [
        (500, 1000, 1, 0, set(range(500, 1000))),  # MACER
        (500, 0, 20, 0, set(range(500, 10000, 20))),
        (3, 10, 3, 0, {3, 6, 9}),
        (0, 5, 1, 0, set(range(5))),
        (9999, 0, 1, 0, {9999}),
        (10000, 0, 1, 0, set()),
    ],
)
def test_images_from_start_to_stop(start: int, stop: int, skip: int, most: int, expected: set[int]) -> None:
    assert set(images_of(10000, 0.0, 0, skip, most, start, stop)) == expected
    # A few of them are the first ones of the same order; a selection of an older version has neither.
    assert (
        images_of(10000, 0.0, 0, skip, 2, start, stop) == images_of(10000, 0.0, 0, skip, 0, start, stop)[:2]
    )
    assert chosen_by({"of": 9, "skip": 2, "max": 0, "count": 5}, 0.1, 4) == (9, 0.1, 4, 2, 0, 0, 0)


def test_a_table_says_from_where_to_where(chain: Chain, capsys: pytest.CaptureFixture[str]) -> None:
    certification = {"start": 100, "stop": 300, "skip": 20, "shards": 1, "max_images": 0}
    chain.run_all(tiny(certification=certification))
    assert read_table(chain.counts_run()).rows.index.tolist() == list(range(100, 300, 20))
    assert run(["export", "tiny"]) == 0
    assert "every 20th from 100 to 299, of 360" in " ".join(capsys.readouterr().out.split())
    # Another sweep of fewer of them: its runs in a notebook speak of the same images as its table.
    chain.plan({**tiny(certification=certification | {"stop": 200}), "name": "fewer"})
    fewer = rsctl.results.open(chain.store.sweep_folder("fewer"))
    assert isinstance(fewer, rsctl.results.SweepResults)
    (one,) = fewer.runs
    assert one.index.tolist() == list(range(100, 200, 20))
    assert one.about.planned == len(one.index) == fewer.rows([0.0])[0]["images"]
    assert one.certified_accuracy([0.0])[0] == fewer.rows([0.0])[0]["certified_accuracy"]
    with pytest.raises(InputError, match="stop = 9 is not above start = 9"):
        checked(chain, toml(tiny(certification={"start": 9, "stop": 9})))
    with pytest.raises(InputError, match=r"certification\.start: leaves no image of the 360"):
        checked(chain, toml(tiny(certification={"start": 360})))


@pytest.mark.parametrize(
    ("name", "form"),
    [("x.tex", "latex"), ("X.TEX", "latex"), ("a.b.csv", "csv"), ("x.json", "json"), ("x.md", "md"), ("x", "md"), (".tex", "md"), ("x.Txt", "md"), ("x.LaTeX", "latex")],
)  # fmt: skip
def test_the_ending_says_the_format(name: str, form: str) -> None:
    assert by_ending(Path(name)) == form


@pytest.mark.parametrize("name", ["x.pdf", "x.html", "x.tex.bak", "logs.tsv"])
def test_an_ending_that_says_no_format_is_asked_about(
    name: str, chain: Chain, capsys: pytest.CaptureFixture[str]
) -> None:
    chain.plan(tiny())
    assert run(["export", "tiny", "-o", str(chain.folder / name)]) == 2
    assert f"the ending {Path(name).suffix} is not that of a table: .tex," in capsys.readouterr().err
    assert not (chain.folder / name).exists()
    assert run(["export", "tiny", "-o", str(chain.folder / name), "--format", "md"]) == 0


def test_export_goes_by_the_ending_unless_told(chain: Chain) -> None:
    chain.plan(tiny())
    for name, options, begins in (
        ("x.tex", (), "% \\input"),
        ("x.csv", (), "run,"),
        ("y.tex", ("--format", "md"), "# tiny"),
    ):
        assert run(["export", "tiny", "-o", str(chain.folder / name), *options]) == 0
        assert (chain.folder / name).read_text().startswith(begins)


NAMES = {
    "Größe": r"Gr\"{o}\ss{}e", "Żółć": r"\.{Z}\'{o}\l{}\'{c}", "naïve": r"na\"{\i}ve", "Å b": r"\AA{} b", "ﬁne": "fine",
    "中文": r"\rsctlchar{4E2D}\rsctlchar{6587}", "Привет": r"\rsctlchar{041F}", "e\u0301": r"\'{e}", "ệ": r"\^{\d{e}}", "😀": r"\rsctlchar{1F600}",
    "Đorđe": r"\rsctlchar{0110}", "\u202e": "?",
}  # fmt: skip


@pytest.mark.parametrize(("name", "begins"), NAMES.items())
def test_letters_of_all_scripts_are_told_apart_in_latex(name: str, begins: str) -> None:
    assert escape_latex(name).isascii()
    assert escape_latex(name).startswith(begins)


@pytest.mark.parametrize("program", ["pdflatex", pytest.param("lualatex", marks=pytest.mark.long)])
def test_names_of_all_scripts_compile(tmp_path: Path, program: str) -> None:
    if not shutil.which(program):
        pytest.skip(f"{program} isn't installed (Debian: texlive-latex-base, texlive-luatex)")
    rows = [make_row(name, (0.8 - i / 50, 0.5)) for i, name in enumerate(NAMES)]
    text = render(Results("Größe 中", "", rows, ["Größe 中"]), "latex")
    assert text.isascii() or "\n% " in text
    (tmp_path / "table.tex").write_text(text)
    paper = "\\documentclass{article}\\usepackage{booktabs}\\begin{document}\\input{table.tex}\\input{table.tex}\\listoftables\\end{document}"
    (tmp_path / "paper.tex").write_text(paper)
    for name in ("table.tex", "paper.tex", "paper.tex"):
        done = subprocess.run(
            [program, "-interaction=nonstopmode", "-halt-on-error", name], cwd=tmp_path, capture_output=True, timeout=300
        )  # fmt: skip
        assert done.returncode == 0, done.stdout.decode(errors="replace")[-1500:]
