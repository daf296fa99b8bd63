"""The cells of a printed table, as text before any escaping: the first line is the header."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from rsctl.report.baselines import Published
from rsctl.report.tables.summary import Best
from rsctl.results.lines import Group, Line, Spread
from rsctl.results.measurement import Measurement
from rsctl.results.rounding import MISSING, percent, percent_up, three_down, three_up
from rsctl.text import radius_text

BEFORE = ("Method", "Model", "σ", "Seed")
SETTINGS = ("Model", "Seed", "Images", "Certified by", "Attack")
MEASURES = ("Clean", "Abstain", "At cap", "Worst class", "Found")
WIDEST = 120
"""Characters of a line that fit most terminals."""
AFTER = ("ACR", "Clean", "Abstain", "At cap", "Worst class", "Images")


def lines_table(group: Group, *, intervals: bool = False) -> list[list[str]]:
    """One line per method, model and σ, as `BEFORE`, the radii, `AFTER`."""
    header = [*BEFORE, *(radius_text(radius) for radius in group.radii), *AFTER]
    return [header, *(_cells(line, intervals) for line in group.lines)]


def _cells(line: Line, intervals: bool) -> list[str]:
    row = line.first
    return [
        line.label, row.model, row.sigmas, line.seeds,
        *(accuracy(line, column, intervals=intervals) for column in range(len(row.cells))),
        _spread(line.over(lambda row: row.acr), three_down, three_up),
        percent(line.over(lambda row: row.clean_accuracy).mean),
        percent_up(line.over(lambda row: row.abstain_rate).mean),
        percent_up(line.over(lambda row: row.cap_share).mean),
        percent(line.over(lambda row: row.cells[0].worst_class).mean if row.cells else float("nan")),
        images(line.rows),
    ]  # fmt: skip


def accuracy(line: Line, column: int, *, intervals: bool = False) -> str:
    """`74.8`, over several seeds `74.8 ± 0.5`, with `intervals` `74.8 [70.7, 78.6]` (of one run)."""
    spread = line.accuracy(column)
    if len(line.rows) > 1 or not intervals:
        return _spread(spread, percent, percent_up)
    low, high = line.first.cells[column].interval
    return f"{percent(spread.mean)} [{percent(low)}, {percent_up(high)}]"


def _spread(spread: Spread, down: Callable[[float], str], up: Callable[[float], str]) -> str:
    text = down(spread.mean)
    return text if math.isnan(spread.deviation) else f"{text} ± {up(spread.deviation)}"


def images(rows: Sequence[Measurement]) -> str:
    """`500`, or `120 of 500` while some are missing; per seed."""
    fewest = min(row.images for row in rows)
    return f"{fewest}" if all(row.complete for row in rows) else f"{fewest} of {rows[0].planned}"


def condensed(table: list[list[str]]) -> tuple[list[list[str]], str]:
    """A table, without its constant columns if it is too wide for a terminal; and a sentence with their values."""
    if sum(max(len(line[i]) for line in table) + 3 for i in range(len(table[0]))) < WIDEST:
        return table, ""
    same = shared(table)
    kept = [[cell for i, cell in enumerate(line) if i not in same] for line in table]
    said = "; ".join(f"{table[0][i]} {table[1][i]}" for i in same)
    return kept, f"In every line: {said}." if said else ""


def shared(table: list[list[str]], further: Sequence[str] = ()) -> list[int]:
    """Constant columns that may be dropped: settings; with several lines also measured columns and
    the `further` ones. Measured columns of a single line stay.
    """
    may_go = SETTINGS + ((*MEASURES, *further) if len(table) > 2 else ())
    return [
        i for i, head in enumerate(table[0]) if head in may_go and len({line[i] for line in table[1:]}) == 1
    ]


def seed_counts(lines: Sequence[Line]) -> str:
    """`2 training seeds`, `2 to 5 training seeds`, of the lines that have several; empty where none has."""
    counts = sorted({len(line.rows) for line in lines if len(line.rows) > 1})
    if not counts:
        return ""
    return f"{' to '.join(str(count) for count in dict.fromkeys((counts[0], counts[-1])))} training seeds"


def means(group: Group) -> str:
    """Note on the seeds over which measured columns besides accuracies and ACR are averaged; empty where no line has several."""
    seeds, measured = seed_counts(group.lines), _measured(group)
    return f"{_listed(measured)}: mean over {seeds}." if seeds and measured else ""


def deviations(group: Group) -> str:
    """Note on the numbers of lines with several seeds; empty where none has several."""
    seeds, measured = seed_counts(group.lines), _measured(group)
    if not seeds:
        return ""
    some = " of a line with several" if any(len(line.rows) == 1 for line in group.lines) else ""
    alone = f"; {_listed(measured)} the mean over them alone" if measured else ""
    return f"Numbers{some}: mean ± standard deviation over {seeds}{alone}."


def _measured(group: Group) -> list[str]:
    """The non-empty columns of `MEASURES`."""
    columns = {head: set(column) for head, *column in zip(*lines_table(group), strict=True)}
    return [head for head in MEASURES if columns.get(head, set()) - {MISSING}]


def _listed(heads: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(heads[:-1]), heads[-1])))


def about_best(best: Sequence[Best]) -> str:
    """Note on the choice of the best noise levels."""
    seeds = seed_counts([line for one in best for line in one.lines])
    by = f" by the mean over {seeds}" if seeds else ""
    return f"The best σ (in brackets) for each radius, chosen{by} on these images among finished lines"


def best_table(group: Group, best: Sequence[Best]) -> list[list[str]]:
    """One line per method and model; the σ behind each number in brackets."""
    header = ["Method", "Model", *(radius_text(radius) for radius in group.radii)]
    return [header, *([one.label, one.model, *best_cells(one)] for one in best)]


def best_cells(best: Best) -> list[str]:
    return [
        f"{accuracy(line, column)} ({line.first.sigma:g})" if line.accuracy(column).mean > 0 else percent(0.0)
        for column, line in enumerate(best.lines)
    ]


def published_table(published: Published) -> list[list[str]]:
    """One line per method and σ, as it was published; a gap where the paper has none."""
    header = ["Method", "σ", *(radius_text(radius) for radius in published.radii), "ACR"]
    # As printed in the source, in whole per cent or with a decimal: no second rounding.
    return [
        header,
        *(
            [
                row.method,
                f"{row.sigma:g}",
                *(_published(value, published.decimals) for value in row.certified),
                _published(row.acr, published.acr_decimals),
            ]
            for row in published.rows
        ),
    ]


def _published(value: float | None, decimals: int) -> str:
    return MISSING if value is None else f"{value:.{decimals}f}"
