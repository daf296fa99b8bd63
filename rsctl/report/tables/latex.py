"""booktabs tables that a paper can \\input and that compile on their own as they are."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from importlib.resources import files

from rsctl.report.baselines import ROUNDED, Published, beside
from rsctl.report.tables.attacks import attack_tables
from rsctl.report.tables.booktabs import Span, Tabular, floats
from rsctl.report.tables.cells import (
    BEFORE,
    MEASURES,
    about_best,
    best_table,
    lines_table,
    means,
    published_table,
    shared,
)
from rsctl.report.tables.families import families, family_table
from rsctl.report.tables.legend import legend
from rsctl.report.tables.summary import Best, best_sigmas, caption, contests, winners
from rsctl.report.typeset import CODE_POINT, NORMS, escape_latex, latex_comment
from rsctl.results.lines import Group, groups
from rsctl.results.rounding import MISSING
from rsctl.results.sweep import Results
from rsctl.text import radius_text

_END = r"\rsctlend"
_IN_WORDS = {
    "Method": "method {}", "Model": "model {}", "σ": "σ = {}", "Seed": "seed {}", "Images": "{} images",
    "Certified by": "certified by {}", "Attack": "attack {}",
}  # fmt: skip
_SET = (
    (r"(?<=\d) \\%", r"\\%"),
    (r"(?<![\w-])n(?= = | and alpha)", "$n$"),
    (r"(?<![\w-])n0(?= = )", "$n_0$"),
    (r"(?<![\w-])alpha(?![\w-])", r"$\\alpha$"),
    (r"(?<![\w-])sigma(?= = )", r"$\\sigma$"),
    (r"(?<![\w-])l([12])(?= (?:radius|distance))", r"$\\ell_\1$"),
    (r"(?<![\w-])linf(?= (?:radius|distance))", r"$\\ell_\\infty$"),
    ("smoothed classifier g", "smoothed classifier $g$"),
    ("Clopper-Pearson", "Clopper--Pearson"),
)
"""Texts of a caption → their typeset form in papers."""


def latex(
    results: Results, *, intervals: bool = False, merge_seeds: bool = True, baselines: Sequence[Published] = (), brief: bool = False
) -> str:  # fmt: skip
    """The tables of Markdown as floats, and the notes as comments.

    A caption says what all lines have in common. Measures beside accuracy and ACR are a table of their own where a column
    of a paper has no room for them. In bold: the best of each column, among the lines that `contests` names.
    """
    tables: list[Tabular] = []
    name = f"tab:{re.sub(r'[^A-Za-z0-9]+', '-', results.sweep).strip('-')}"
    for number, group in enumerate(groups(results.every, merge_seeds=merge_seeds)):
        label = _numbered(name, number)
        tables += _of_group(group, intervals, label)
        best = best_sigmas(group)
        if best:
            tables.append(_of_best(group, best, label))
    for number, family in enumerate(families(results)):
        cells, span = _spanned(family_table(family), family.radii, family.norm)
        label = _numbered(f"{name}-side-by-side", number)
        tables.append(_short(Tabular(cells, _prose(family.caption), label, spans=[span])))
    for number, (about, cells) in enumerate(attack_tables(results.attacked)):
        cells[0][8:-1] = _aligned(cells[0][8:-1])
        texts = ("Left standing (\\%) at radius", "Left standing (\\%)", "\\% at radius")
        spans = [Span(("Median", "Mean"), ("Distance",)), Span(cells[0][8:-1], texts)]
        tables.append(
            _short(Tabular(cells, _prose(about), _numbered(f"{name}-attacks", number), spans=spans))
        )
    for published in baselines:
        cells, span = _spanned(published_table(published), published.radii, "l2")
        about = _prose(f"Published, not measured here: {published.heading} {ROUNDED}")
        tables.append(_short(Tabular(cells, about, f"{name}-{published.name}", spans=[span])))
    if brief:
        tables = [
            replace(one, caption=one.caption.replace(f" {one.legend}", "")) if one.legend else one
            for one in tables
        ]
    shown = [part for table in tables for part in floats(table.by_sigma())]
    notes = [latex_comment(note) for note in [*results.notes, *beside(results.every, baselines)]]
    begin = [_tex("begin"), *([_tex("characters")] if any(CODE_POINT in part for part in shown) else [])]
    return "\n\n".join([*begin, *shown, *notes, _END]) + "\n"


def _tex(name: str) -> str:
    return files("rsctl.report.tables").joinpath(f"{name}.tex").read_text(encoding="utf-8").rstrip()


def _of_group(group: Group, intervals: bool, label: str) -> list[Tabular]:
    """The table of a group, and one of its measures where they don't fit a column beside the rest."""
    cells, span = _spanned(lines_table(group, intervals=intervals), group.radii, group.first.norm)
    contesting = [[i + 1 for i in contest] for contest in contests(group)]
    table = _emboldened(
        Tabular(cells, _prose(caption(group)), label, spans=[span]), contesting, [*span.heads, "ACR"]
    )
    whole = _short(table)
    measures = [head for head in whole.heads if head in MEASURES]
    told = _prose(means(group))
    if whole.fits_column or not measures:
        return [_with(whole, told)]
    main = _short(table.without(MEASURES))
    names = {"Method" if head == "Settings" else head for head in main.heads if head in (*BEFORE, "Settings")}
    beside_it = replace(
        table, caption=f"Table~\\ref{{{label}}} continued: more of the same runs.", label=f"{label}-measures"
    )
    beside_it = beside_it.without([head for head in table.heads if head not in (*names, *MEASURES)])
    return [main, _with(_short(beside_it), told)]


def _with(table: Tabular, told: str) -> Tabular:
    return replace(table, caption=f"{table.caption} {told}".rstrip())


def _of_best(group: Group, best: Sequence[Best], label: str) -> Tabular:
    """The best σ of each method at each radius; none in bold where a method has lines with several settings."""
    cells, span = _spanned(best_table(group, best), group.radii, group.first.norm)
    about = f"{_prose(about_best(best))}; all else as in Table~\\ref{{{label}}}."
    names = {(one.lines[0].first.method, one.model) for one in best}
    contest = [range(1, len(cells))] if len(names) == len(best) else []
    return _short(_emboldened(Tabular(cells, about, f"{label}-best", spans=[span]), contest, span.heads))


def _short(table: Tabular) -> Tabular:
    """Without constant and empty columns, whose values the caption gives, along with explanations."""
    table, method = _settings_alone(table)
    same = method | {table.heads[j]: table.cells[1][j] for j in shared(table.cells, ("Method", "σ"))}
    told = [
        _IN_WORDS.get(head, head + " {}").format(text) if " seeds" not in text else f"mean ± standard deviation over {text}"
        for head, text in same.items()
        if text != MISSING
    ]  # fmt: skip
    spanned = [head for span in table.spans for head in span.heads]
    unknown = [
        head
        for head, *column in zip(*table.cells, strict=True)
        if head not in spanned and set(column) == {MISSING}
    ]
    kept = table.without([*same, *unknown])
    seeds = ""
    if "Seed" in kept.heads:
        # A log without a seed beside lines of several: only the latter have a ±.
        column = {line[kept.heads.index("Seed")] for line in kept.cells[1:]} - {MISSING}
        if len(column) == 1 and " seeds" in (seeds := column.pop()):
            kept = kept.without(["Seed"])
    texts = [cell for line in kept.cells[1:] for cell in line]
    remarks = [
        f"In every line: {', '.join(told)}." if told else "",
        f"After ± the standard deviation over {seeds or 'training seeds'}." if any("±" in text for text in texts) and "Seed" not in same else "",
        "Index and exponent: 95 % Clopper-Pearson interval over images." if any("[" in text for text in texts) else "",
        f"Bold: the largest number of a column{' at one σ' if _levels(kept) > 1 else ''}, whether significant or not."
        if kept.bold
        else "",
    ]  # fmt: skip
    meanings = _prose(legend([*kept.heads, *(head for head in same if same[head] != MISSING)]))
    texts = [
        kept.caption,
        *(_prose(remark) for remark in remarks if remark),
        *([meanings] if meanings else []),
    ]
    return replace(kept, caption=" ".join(texts), legend=meanings)


def _settings_alone(table: Tabular) -> tuple[Tabular, dict[str, str]]:
    """The settings as first column and the method for the caption, where all lines are one method."""
    if "Method" not in table.heads:
        return table, {}
    place = table.heads.index("Method")
    split = [re.fullmatch(r"(.+?) \((.+)\)", line[place]) for line in table.cells[1:]]
    names = {match[1] if match else "" for match in split}
    texts = {match[2] if match else "" for match in split}
    if len(names) > 1 or "" in names or len(texts) == 1:
        return table, {}
    cells = [list(line) for line in table.cells]
    for line, match in zip(cells, [None, *split], strict=True):
        line[place] = match[2] if match else "Settings"
    return replace(table, cells=cells), {"Method": names.pop()}


def _levels(table: Tabular) -> int:
    if "σ" not in table.heads:
        return 1
    place = table.heads.index("σ")
    return len({line[place] for line in table.cells[1:]})


def _emboldened(table: Tabular, contests: Sequence[Sequence[int]], heads: Sequence[str]) -> Tabular:
    """The table with the largest numbers of each contest's lines in bold, in the columns of these heads."""
    bold = {
        (contest[i], j)
        for j, head in enumerate(table.heads)
        if head in heads
        for contest in contests
        for i in winners([_leading(table.cells[line][j]) for line in contest])
    }
    return replace(table, bold=bold)


def _leading(cell: str) -> str | None:
    """The number a cell begins with, as printed."""
    match = re.match(r"[0-9.]+", cell)
    return match[0] if match else None


def _spanned(cells: list[list[str]], radii: Sequence[float], norm: str) -> tuple[list[list[str]], Span]:
    """The cells with equally many decimals in the radii of the header (fractions stay), and the heading above these."""
    if not radii:
        return cells, Span((), ())
    plain = [radius_text(radius) for radius in radii]
    first, heads = cells[0].index(plain[0]), _aligned(plain)
    header = [*cells[0][:first], *heads, *cells[0][first + len(heads) :]]
    radius = f"{NORMS.get(norm, escape_latex(norm))} radius"
    texts = (
        f"Certified accuracy (\\%) at {radius}",
        f"Certified (\\%) at {radius}",
        f"\\% at {radius}",
        radius,
    )
    return [header, *cells[1:]], Span(heads, texts)


def _aligned(heads: Sequence[str]) -> list[str]:
    """Radii with equally many decimals; where one is a fraction or tiny they stay."""
    if not all(re.fullmatch(r"[0-9.]+", head) for head in heads):
        return list(heads)
    places = max((len(head.partition(".")[2]) for head in heads), default=0)
    return [f"{float(head):.{places}f}" for head in heads]


def _numbered(label: str, number: int) -> str:
    return f"{label}-{number + 1}" if number else label


def _prose(text: str) -> str:
    """Text of a caption as papers set it: symbols, norms and long numbers."""
    shown = escape_latex(text)
    for pattern, found in _SET:
        shown = re.sub(pattern, found, shown)
    return re.sub(
        r"(?<![\w.-])\d{5,}(?![\w.]*\d)", lambda match: f"{int(match[0]):,}".replace(",", "{,}"), shown
    )
