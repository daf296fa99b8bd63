"""booktabs tables that a paper can \\input and that compile on their own as they are."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rsctl.report.attacked import attack_tables
from rsctl.report.families import family_table
from rsctl.report.legend import legend
from rsctl.report.measured import Results
from rsctl.report.published import Published, beside
from rsctl.report.summary import best_sigmas, caption, groups, winners
from rsctl.report.tables import BEFORE, best_table, lines_table, published_table
from rsctl.report.text import escape_latex, latex_comment

# Inside a document \@nodocument is \relax; before its beginning it isn't, and then this file brings its own.
_BEGIN = r"""% \input this file in a document that loads booktabs, or compile it as it is.
\expandafter\ifx\csname @nodocument\endcsname\relax
  \def\rsctlend{}
\else
  \documentclass[10pt]{article}
  \usepackage[a4paper,landscape,margin=1.5cm]{geometry}
  \usepackage{booktabs}
  \begin{document}
  \def\rsctlend{\end{document}}
\fi"""
_END = r"\rsctlend"
MOST_LINES = 40
"""Lines of one table: more don't fit a page."""


def latex(
    results: Results, *, intervals: bool = False, merge_seeds: bool = True, baselines: Sequence[Published] = ()
) -> str:  # fmt: skip
    """One table per group of comparable rows, then the best σ per radius, baselines, and the notes as comments.

    In bold: the best of each column among the finished lines of one σ, where there are several and they differ.
    """
    parts, heads = [_BEGIN], []
    for group in groups(results.every, merge_seeds=merge_seeds):
        table = lines_table(group, intervals=intervals)
        heads += table[0]
        bold: set[tuple[int, int]] = set()
        for sigma in {line.first.sigma for line in group.lines}:
            for column in range(len(group.radii)):
                place = len(BEFORE) + column
                competing = [
                    _leading(cells[place])
                    if line.first.sigma == sigma and line.complete and line.first.images
                    else None
                    for line, cells in zip(group.lines, table[1:], strict=True)
                ]
                bold |= {(i + 1, place) for i in winners(competing)}
        parts += _floats(table, caption(group), bold, left=2)
        best = best_sigmas(group)
        if best:
            shown = best_table(group, best)
            bold = {
                (i + 1, column + 2)
                for column in range(len(group.radii))
                for i in winners([_leading(cells[column + 2]) for cells in shown[1:]])
            }
            parts += _floats(
                shown, "The best $\\sigma$ (in brackets) for each radius, chosen on these images.", bold, left=2, ready=True
            )  # fmt: skip
    for family in results.families:
        parts += _floats(family_table(family), family.caption, set(), left=5)
    for text, table in attack_tables(results.attacked):
        parts += _floats(table, text, set(), left=5)
        heads += table[0]
    for published in baselines:
        parts += _floats(
            published_table(published), f"Published, not measured here: {published.heading}", set(), left=1
        )
    notes = [legend(heads), *results.notes, *beside(results.every, baselines)]
    parts += [latex_comment(note) for note in notes if note]
    return "\n\n".join([*parts, _END]) + "\n"


def _leading(cell: str) -> str | None:
    """The number a cell begins with, as printed."""
    match = re.match(r"[0-9.]+", cell)
    return match[0] if match else None


def _cell(text: str, *, bold: bool) -> str:
    """A cell's text; an interval in brackets becomes index and exponent, which is narrower."""
    match = re.fullmatch(r"([0-9.]+) \[([0-9.]+), ([0-9.]+)\]", text)
    number = escape_latex(match[1] if match else text)
    shown = f"\\textbf{{{number}}}" if bold else number
    return f"{shown}$_{{{match[2]}}}^{{{match[3]}}}$" if match else shown


def _floats(
    table: Sequence[Sequence[str]], about: str, bold: set[tuple[int, int]], *, left: int, ready: bool = False
) -> list[str]:
    """Table environments of at most `MOST_LINES` lines; the first `left` columns are text. `ready`: `about` is LaTeX."""
    text = about if ready else escape_latex(about)
    header = " & ".join(escape_latex(cell) for cell in table[0]) + r" \\"
    body = [
        " & ".join(_cell(cell, bold=(i, j) in bold) for j, cell in enumerate(cells)) + r" \\"
        for i, cells in enumerate(table)
        if i
    ]
    # Index and exponent need room between the lines.
    stretch = "\\renewcommand{\\arraystretch}{1.5}\n" if any("$_{" in line for line in body) else ""
    pages = [body[start : start + MOST_LINES] for start in range(0, len(body), MOST_LINES)]
    return [
        "\\begin{table}[tbp]\n\\centering\n\\footnotesize\n\\setlength{\\tabcolsep}{3.5pt}\n"
        + stretch
        + f"\\caption{{{text}{f' Part {number} of {len(pages)}.' if len(pages) > 1 else ''}}}\n"
        f"\\begin{{tabular}}{{{'l' * left}{'r' * (len(table[0]) - left)}}}\n\\toprule\n{header}\n\\midrule\n"
        + "\n".join(lines)
        + "\n\\bottomrule\n\\end{tabular}\n\\end{table}"
        for number, lines in enumerate(pages, 1)
    ]
