"""LaTeX tables: what is said once, what is bold, that they fit a column, and that they compile."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from report_cases import N0, N, make_row, make_store
from test_report_formats import NASTY, results

from rsctl.report.baselines import find_published
from rsctl.report.radius_logs.export_logs import export_logs
from rsctl.report.radius_logs.import_logs import GivenFacts, import_logs
from rsctl.report.radius_logs.manifest import MANIFEST
from rsctl.report.tables.booktabs import Span, Tabular, floats
from rsctl.report.tables.formats import render
from rsctl.results.measurement import Measurement
from rsctl.results.notes import mark_varying
from rsctl.results.sweep import Results, sweep_results

needs_latex = pytest.mark.skipif(
    not shutil.which("pdflatex"),
    reason="pdflatex isn't installed (Debian: texlive-latex-base, texlive-latex-recommended)",
)


def latex(*rows: Measurement, **options: bool) -> str:
    return render(results(*rows), "latex", **options)


def lines(text: str) -> list[list[str]]:
    """The cells of the first table, its heads first."""
    body = text.split("\\end{tabular}")[0]
    told = [
        line
        for line in body.splitlines()
        if line.endswith(r" \\") and not re.search(r"multicolumn{[2-9]", line)
    ]
    return [[cell.strip() for cell in line.removesuffix(r"\\").split(" & ")] for line in told]


def captions(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("\\caption")]


def two_methods(*sigmas: float, seeds: int = 1) -> list[Measurement]:
    return [
        make_row(method, (0.9 - sigma / 10 - seed / 100, better), sigma=sigma, seed=seed, acr=better)
        for method, better in (("gaussian", 0.5), ("macer", 0.6))
        for sigma in sigmas
        for seed in range(seeds)
    ]


def with_lr(lr: float, accuracies: tuple[float, ...], *, sigma: float = 0.5, **changes: float) -> Measurement:
    train = make_row(sigma=sigma).training
    changed = train.model_copy(update={"recipe": train.recipe.model_copy(update={"lr": lr})})
    return make_row(accuracies=accuracies, sigma=sigma, train=changed, **changes)


# ---------------------------------------------------------------- what is said once


def test_what_all_lines_share_stands_in_the_caption_alone() -> None:
    text = latex(*two_methods(0.5))
    assert lines(text)[0] == ["Method", "0.00", "0.25", "ACR"]
    (about,) = captions(text)
    told = "In every line: model resnet110, $\\sigma$ = 0.5, seed 0, Abstain 10.0, At cap 0.0, 1000 images."
    assert told in about
    assert "at $\\ell_2$ radius, cifar10 test" in about
    assert "$n$ = 100{,}000, $n_0$ = 100, $\\alpha$ = 0.001" in about
    assert "probabilistic 0.999" in about
    assert "\\label{tab:sweep}" in text
    # One line has nothing to share its name with.
    assert lines(latex(make_row()))[1][:2] == ["gaussian", "0.5"]


def test_settings_of_one_method_stand_without_its_name() -> None:
    rows = [with_lr(lr, (0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2), abstain_rate=lr) for lr in (0.1, 0.2)]
    mark_varying(rows)
    first, second = latex(*rows).split("\\end{table}")[:2]
    for table in (first, second):
        assert [row[0] for row in lines(table)] == ["Settings", "lr=0.1", "lr=0.2"]
        assert "method gaussian" in captions(table)[0]


def test_a_run_that_is_not_finished_keeps_its_number_of_images() -> None:
    rows = lines(latex(make_row(), make_row("macer", images=120)))
    assert rows[0][-1] == "Images"
    assert [row[-1] for row in rows[1:]] == ["1000", "120 of 1000"]


def test_methods_at_several_levels_stand_in_blocks() -> None:
    text = latex(*two_methods(0.25, 0.5))
    assert [row[:2] for row in lines(text)] == [
        ["$\\sigma$", "Method"], ["0.25", "gaussian"], ["", "macer"], ["0.50", "gaussian"], ["", "macer"],
    ]  # fmt: skip
    assert text.split("\\end{tabular}")[0].count("\\midrule") == 2
    assert "\\midrule\n0.50" in text
    # One method: nothing to put into blocks.
    assert [row[0] for row in lines(latex(make_row(sigma=1.0), make_row(sigma=0.25)))[1:]] == ["1.00", "0.25"]


def test_measures_are_a_table_of_their_own_where_a_column_has_no_room() -> None:
    wide = [
        make_row(m, (0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3), abstain_rate=a)
        for m, a in (("gaussian", 0.1), ("consistency", 0.2))
    ]
    text = latex(*wide)
    assert text.count("\\begin{table}") == 2
    first, second = text.split("\\end{tabular}")[:2]
    assert "Abstain" not in first
    assert "Method & Abstain" in second
    assert "Table~\\ref{tab:sweep} continued" in second
    assert "\\label{tab:sweep-measures}" in second
    assert latex(*two_methods(0.5)).count("\\begin{table}") == 1


def test_labels_stay_whatever_else_there_is() -> None:
    rows = two_methods(0.25, 0.5)
    other = [replace(row, certificate="runner-up") for row in rows]
    text = render(
        Results("a_b c", "", [*rows, *other], []), "latex", baselines=[find_published("sodm2021-table1")]
    )
    labels = re.findall(r"\\label\{(.*?)\}", text)
    assert labels == [
        "tab:a-b-c",
        "tab:a-b-c-best",
        "tab:a-b-c-2",
        "tab:a-b-c-2-best",
        "tab:a-b-c-sodm2021-table1",
    ]
    assert set(re.findall(r"\\ref\{(.*?)\}", text)) == {"tab:a-b-c", "tab:a-b-c-2"}


def test_certificates_in_several_norms_name_theirs_and_fractions_stay() -> None:
    row = make_row(accuracies=(0.9, 0.8, 0.7, 0.6))
    cells = [replace(cell, radius=k / 255) for cell, k in zip(row.cells, (0, 2, 8, 16), strict=True)]
    text = latex(row, replace(row, norm="linf", cells=cells))
    assert "radius, cifar10" in captions(text)[0]
    assert any("at $\\ell_\\infty$ radius" in about for about in captions(text))
    assert "0 & 2/255 & 8/255 & 16/255" in text


# ---------------------------------------------------------------- bold


def test_bold_marks_the_best_of_one_sigma_only_where_there_is_a_choice() -> None:
    alone = latex(make_row(accuracies=(0.8,), sigma=0.25), make_row(accuracies=(0.6,), sigma=0.5))
    assert "textbf" not in alone
    pair = (make_row("gaussian", (0.8, 0.5)), make_row("other", (0.6, 0.5)))
    text = latex(*pair)
    assert "\\textbf{80.0}" in text
    assert text.count("textbf") == 1  # a tie is no choice
    assert "Bold: the largest number of a column, whether significant or not." in text
    assert "textbf" not in latex(pair[0], make_row("other", (0.9, 0.9), images=10))
    assert "Bold" not in alone


def test_each_sigma_has_a_best_and_acr_too() -> None:
    text = latex(*two_methods(0.25, 0.5))
    table = text.split("\\end{tabular}")[0]
    assert table.count("\\textbf{60.0}") == 2
    assert table.count("\\textbf{0.600}") == 2
    assert "Bold: the largest number of a column at one $\\sigma$" in text


def test_the_best_of_several_seeds_or_settings_is_none() -> None:
    rows = two_methods(0.5, seeds=2)
    assert "textbf" in latex(*rows)
    assert "textbf" not in latex(*rows, merge_seeds=False)
    rows = [with_lr(lr, (0.5 + lr,), sigma=sigma) for sigma in (0.25, 0.5) for lr in (0.1, 0.2)]
    mark_varying(rows)
    assert "The best" in latex(*rows, make_row("macer", (0.7,)))
    assert "textbf" not in latex(*rows, make_row("macer", (0.7,)))


def test_the_best_sigma_is_not_that_of_the_best_seed() -> None:
    rows = [make_row(accuracies=(a,), sigma=s, seed=i) for s, i, a in ((0.25, 0, 0.9), (0.25, 1, 0.1), (0.5, 0, 0.6), (0.5, 1, 0.6))]  # fmt: skip
    for form in ("md", "latex"):
        best = render(results(*rows), form, merge_seeds=False).split("The best")[1]
        assert "60.0" in best
        assert "90.0" not in best


def test_a_row_that_an_attack_contradicts_is_never_the_best() -> None:
    broken = make_row("broken", (0.9,))
    broken.varying["BROKEN certificates"] = 1
    assert "textbf" not in latex(broken, make_row())
    assert "textbf" in latex(broken, make_row(), make_row("macer", (0.6,)))


# ---------------------------------------------------------------- numbers below each other


def test_what_follows_a_number_is_as_wide_in_every_line() -> None:
    seeds = [make_row(accuracies=(a,), seed=i) for i, a in enumerate((0.3, 0.6))]
    text = latex(*seeds, *(make_row("b", (a,), seed=i) for i, a in enumerate((0.80, 0.81))), make_row("c"))
    table = lines(text)
    place = next(j for j, head in enumerate(table[0]) if "multicolumn{1}{c}" in head)
    assert [row[place] for row in table[1:]] == [
        "45.0$_{\\pm21.3}$", "\\textbf{80.5}$_{\\pm\\phantom{0}0.8}$", "50.0\\phantom{$_{\\pm21.3}$}",
    ]  # fmt: skip
    assert "After $\\pm$ the standard deviation over training seeds." in text


def test_a_log_beside_merged_seeds_needs_no_column_of_seeds(tmp_path: Path) -> None:
    store, _ = make_store(tmp_path, grid={"seed": [0, 1]})
    logs, _ = export_logs(store, "sweep", tmp_path / "logs")
    # A log of somebody else's, which doesn't say its seed.
    (tmp_path / "logs" / MANIFEST).unlink()
    import_logs(
        store,
        "sweep",
        logs[:1],
        GivenFacts(method="theirs", dataset="digits", model="cnn", n=N, n0=N0, alpha=0.001),
    )
    text = render(sweep_results(store, "sweep"), "latex")
    assert "Seed" not in lines(text)[0]
    assert "After $\\pm$ the standard deviation over 2 seeds." in text
    assert "of a line with (log) as logged (counts unknown)" in captions(text)[0]
    assert "as logged" not in latex(make_row())


def test_intervals_are_narrow() -> None:
    text = latex(make_row(images=10, planned=10), make_row("b", (0.9,)), intervals=True)
    assert "50.0$_{18.7}^{81.3}$" in text
    assert "\\textbf{90.0}$_{" in text
    assert "Index and exponent: 95\\% Clopper--Pearson interval" in text
    assert "arraystretch" in text
    assert "arraystretch" not in latex(make_row())


def test_sigmas_have_equally_many_decimals() -> None:
    rows = [make_row(accuracies=(0.8, 0.2), sigma=0.25), make_row(accuracies=(0.6, 0.4), sigma=0.5)]
    best = latex(*rows).split("The best")[1]
    assert "80.0 (0.25) & 40.0 (0.50)" in best


# ---------------------------------------------------------------- widths


def table_of(columns: int, lines: int = 3, cell: str = "76.6", name: str = "gaussian") -> Tabular:
    heads = [f"{i / 4:.2f}" for i in range(columns)]
    cells = [["Method", *heads], *([f"{name} {i}", *[cell] * columns] for i in range(lines))]
    return Tabular(cells, "About.", "tab:x", spans=[Span(heads, ("Certified accuracy", "\\% at $\\ell_2$"))])


def test_a_table_that_is_too_wide_for_a_column_takes_two_and_then_parts() -> None:
    assert "\\begin{table}[" in floats(table_of(7))[0]
    assert "\\begin{table*}[" in floats(table_of(10))[0]
    first, second = floats(table_of(24))
    assert (first.count("76.6"), second.count("76.6")) == (36, 36)
    assert "About. Part 2 of 2." in second
    assert first.count("tab:x") == 1
    assert "tab:x" not in second
    assert len(floats(table_of(3, lines=45))) == 2


def test_what_spans_columns_is_no_wider_than_they_are() -> None:
    assert "{Certified accuracy}" in floats(table_of(7))[0]
    assert "\\multicolumn{3}{c}{\\% at $\\ell_2$}" in floats(table_of(3, cell="1"))[0]
    assert "multicolumn" not in floats(table_of(1))[0]


@needs_latex
def test_nothing_is_wider_than_its_column_in_a_paper(tmp_path: Path) -> None:
    seeds = [
        make_row(method, tuple(1 - i / 20 - s / 50 - seed / 30 for i in range(9)), sigma=s, seed=seed)
        for method in ("gaussian", "smoothadv/pgd10-m8_eps255 & more")
        for s in (0.25, 0.5)
        for seed in (0, 1)
    ]
    texts = [
        latex(*seeds),
        latex(*seeds, merge_seeds=False),
        latex(*seeds, merge_seeds=False, intervals=True),
    ]
    for columns in range(3, 17):
        table = table_of(columns, cell="76.6 ± 0.5 (0.25)" if columns % 2 else "76.6")
        everywhere = {(i, j) for i in (1, 2, 3) for j in range(1, columns + 1)}
        texts += ["\n".join([*floats(table), *floats(replace(table, bold=everywhere))])]
    texts.append(render(results(seeds[0]), "latex", baselines=[find_published("sun2024-cifar10")]))
    for setting in ("[twocolumn]{article}", "{article}\\setlength{\\textwidth}{397pt}"):
        paper = f"\\documentclass{setting}\\usepackage{{booktabs}}\\begin{{document}}%s\\end{{document}}"
        (tmp_path / "paper.tex").write_text(paper % "\n\\clearpage\n".join(texts))
        assert "Overfull \\hbox" not in compiled(tmp_path, "paper.tex")


@needs_latex
def test_it_compiles_alone_and_in_a_paper(tmp_path: Path) -> None:
    rows = [
        make_row(NASTY, (0.8, 0.5)),
        make_row("other é λ±", (0.6, 0.4)),
        *(make_row(f"m{i}") for i in range(45)),
    ]
    text = render(Results("sweep_%", NASTY, rows, [NASTY, "a\n\\undefined"]), "latex", intervals=True)
    (tmp_path / "table.tex").write_text(text)
    paper = "\\documentclass{article}\\usepackage{booktabs}\\begin{document}\\input{table.tex}\\input{table.tex}End.\\end{document}"
    (tmp_path / "paper.tex").write_text(paper)
    for name in ("table.tex", "paper.tex"):
        compiled(tmp_path, name)


def compiled(folder: Path, name: str) -> str:
    """What pdflatex says."""
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", name], cwd=folder, capture_output=True, timeout=120
    )  # fmt: skip
    said = done.stdout.decode(errors="replace")
    assert done.returncode == 0, said[-2000:]
    return said
