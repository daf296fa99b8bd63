"""The per-image logs of Cohen's code and its descendants: tab-separated `idx label predict radius correct time`.

What is odd about such files is handled here and told: radii of few digits (which may be rounded up), abstentions that
name a class, radii below 0, times as `0:00:14.17` or as seconds, files with a header alone, a last line that was cut
off, a `correct` column that is a running total (it is always recomputed as predict = label), counts in the place of
radii, radii in several norms, several predicted classes, further columns, any subset and order.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rsctl.report.output import LOG_HEADER
from rsctl.report.radius_logs.bare_lines import histograms, is_bare, what_is_missing
from rsctl.report.radius_logs.cells import NotALog, bare, integers, is_number, numbers, said_right, seconds_of
from rsctl.report.radius_logs.layouts import Layout, layout_of, numbers_of, split_line
from rsctl.results.printed import half_units
from rsctl.store.imports import Radii
from rsctl.text import counted

LONGEST_LINE = 1 << 20
"""Most columns of a header: enough for a column per class of the largest data sets."""
SAMPLE = 50
"""Rows that are inspected to find the meaning of a column."""


@dataclass(frozen=True)
class ReadLog:
    """A log as it was read."""

    radii: Radii
    """Rows in ascending order of position, each image once; logs of counts have no radii here."""
    quirks: list[str]
    """Harmless irregularities."""
    losses: list[str]
    """Omitted rows, for readers of the numbers."""
    norm: str = "l2"
    """Norm of its radii."""
    k: int = 1
    """Predicted classes of each image, among which the label has to be."""
    further: dict[str, Radii] = field(default_factory=dict)
    """The same images with their radii in another norm."""
    chosen: bool = True
    """True if the log has the predicted class; else it is the most frequent one."""

    @property
    def counts(self) -> str:
        """Counts as in an import's spec: `top` or `classes`, empty for radii."""
        return "" if self.radii.counts is None else "top" if self.radii.counts.shape[1] == 1 else "classes"


def parse_log(text: str) -> ReadLog:
    """Read a log; raises NotALog with the reason."""
    lines = [line.rstrip("\r") for line in text.removeprefix("\ufeff").split("\n")]
    cut = lines.pop() if lines else ""
    header = lines[0] if lines else cut
    if len(header) > LONGEST_LINE:
        raise NotALog(f"its first line has {len(header):,} characters")
    if is_bare(header):
        return _without_header([*lines, cut])
    layout = layout_of(header, lines[1 : SAMPLE + 1])
    if layout.missing:
        raise NotALog(
            f"its first line has no column {', '.join(layout.missing)}; a log of certified radii begins with '{' '.join(LOG_HEADER)}'"
        )
    if layout.other_noise and "radius" not in layout.place:
        raise NotALog(
            f"its column '{layout.other_noise}' suggests noise other than Gaussian, and it has no radius: rsctl can't derive radii from such "
            "counts"
        )
    quirks: list[str] = []
    losses: list[str] = []
    rows = _rows(lines[1:], cut if lines else "", layout, quirks, losses)
    return _read(rows, layout, quirks, losses)


def _rows(
    lines: Sequence[str], cut: str, layout: Layout, quirks: list[str], losses: list[str]
) -> list[list[str]]:
    """The whole rows below the header; `cut` is the text after the last newline."""
    heads = layout.heads
    rows = [_cells(line, layout) for line in lines if line.strip()]
    last = _cells(cut, layout)
    if cut.strip():
        # Without its newline even a full line may end inside its last value; in a time that does no harm.
        if len(last) == len(heads) and layout.place.get("time") == len(heads) - 1 and _reads(last, layout):
            rows.append(last)
        else:
            losses.append("the last line was cut off and is left out")
    elif rows and (len(rows[-1]) < len(heads) or not _reads(rows[-1], layout)):
        last = rows.pop()
        losses.append(
            f"the last line {'was cut off' if len(last) < len(heads) else 'holds no numbers'} and is left out"
        )
    repeated = sum(row == heads for row in rows)
    if repeated:
        quirks.append(f"its header appears {repeated + 1} times")
        rows = [row for row in rows if row != heads]
    if not rows:
        raise NotALog("it holds a header and no rows")
    if {len(row) for row in rows} != {len(heads)}:
        wrong = next(i for i, row in enumerate(rows) if len(row) != len(heads))
        raise NotALog(f"row {wrong + 1} has {len(rows[wrong])} columns, its header {len(heads)}")
    return rows


def _cells(line: str, layout: Layout) -> list[str]:
    return [bare(cell) for cell in split_line(line, layout.delimiter)]


def _reads(row: list[str], layout: Layout) -> bool:
    """Return whether a row is complete."""
    needed = [layout.place[name] for name in ("idx", "label", "predict", "radius") if name in layout.place]
    return len(row) == len(layout.heads) and all(is_number(row[i]) for i in needed)


def _read(rows: list[list[str]], layout: Layout, quirks: list[str], losses: list[str]) -> ReadLog:
    columns = list(zip(*rows, strict=True))
    named = {name: columns[i] for name, i in layout.place.items()}
    index, label = (integers(named[name], name) for name in ("idx", "label"))
    predicted, k = _predicted(named, [columns[i] for i in layout.top], label)
    seconds, unread = seconds_of(named["time"]) if "time" in named else (np.full(len(rows), np.nan), 0)
    if unread:
        quirks.append(f"{counted(unread, 'time')} can't be read")
    counts, draws = _counts(named, [columns[i] for i in layout.histogram])
    chosen = predicted is not None
    if predicted is None:
        assert counts is not None  # ensured by 'missing'
        predicted = counts.argmax(axis=1)
    radii = {"l2": ("radius", named["radius"])} if "radius" in named else {}
    radii |= {norm: (layout.heads[i], columns[i]) for norm, i in layout.norms.items()}
    norms = {norm: numbers(column, name) for norm, (name, column) in radii.items()} or {
        "l2": np.zeros(len(rows))
    }
    printed = {norm: half_units(column) for norm, (_, column) in radii.items()} or {"l2": np.zeros(len(rows))}
    _check(index, label, predicted, norms)
    main = next(iter(norms))
    if counts is None or "radius" in named:
        predicted = _certified(norms[main], predicted, label, named.get("correct"), quirks)
    if layout.left_out:
        quirks.append(f"further columns are left out: {', '.join(layout.left_out)}")
    if (np.diff(index) < 0).any():
        quirks.append("its rows aren't in the order of the images")

    def table(norm: str) -> Radii:
        radius = np.where(predicted == -1, 0.0, norms[norm])
        return Radii(
            index, label.astype(np.int32), predicted.astype(np.int32), radius, seconds, printed[norm], counts, draws
        )  # fmt: skip

    others = {
        norm: _once(replace(table(norm), counts=None, draws=None), []) for norm in norms if norm != main
    }
    return ReadLog(_once(table(main), losses), quirks, losses, main, k, others, chosen)


def _without_header(lines: Sequence[str]) -> ReadLog:
    """Counts of every class and the label, line by line; the position is the number of the line."""
    rows = [line for line in lines if line.strip()]
    found = histograms(rows)
    if found is None:
        raise NotALog(what_is_missing(rows[:SAMPLE]))
    counts, label = found
    radii = Radii(
        np.arange(len(rows)), label.astype(np.int32), counts.argmax(axis=1).astype(np.int32), np.zeros(len(rows)),
        np.full(len(rows), np.nan), np.zeros(len(rows)), counts, counts.sum(axis=1),
    )  # fmt: skip
    return ReadLog(
        radii,
        ["it has no header: taken as counts of every class and the label, an image per line"],
        [],
        chosen=False,
    )


def _predicted(
    named: Mapping[str, Sequence[str]], top: Sequence[Sequence[str]], label: NDArray[np.int64]
) -> tuple[NDArray[np.int64] | None, int]:
    """The predicted class and of how many it is one; of several the label, where it is among them."""
    if not top:
        return (integers(named["predict"], "predict"), 1) if "predict" in named else (None, 1)
    several = _lists(top, "predicted classes")
    sizes = {len(one) for one in several if one != [-1]} - {0}
    if len(sizes) > 1 or any(not one for one in several):
        raise NotALog(
            f"its lists of predicted classes have different lengths: {', '.join(map(str, sorted(sizes)))}"
        )
    first = [mine if mine in one else one[0] for mine, one in zip(label.tolist(), several, strict=True)]
    return np.array(first, np.int64), next(iter(sizes), 1)


def _lists(columns: Sequence[Sequence[str]], what: str) -> list[list[int]]:
    """The numbers of each row in these columns."""
    try:
        return [
            [number for cell in cells for number in numbers_of(cell)] for cells in zip(*columns, strict=True)
        ]
    except ValueError as error:
        raise NotALog(f"a list of {what} can't be read ({error})") from None


def _counts(
    named: Mapping[str, Sequence[str]], histogram: Sequence[Sequence[str]]
) -> tuple[NDArray[np.int64] | None, NDArray[np.int64] | None]:
    """(N, C) counts and (N,) draws, as far as they are there."""
    draws = integers(named["draws"], "n") if "draws" in named else None
    if histogram:
        table = _lists(histogram, "counts")
        if len({len(row) for row in table}) != 1 or len(table[0]) < 2:
            raise NotALog("its lists of counts have different lengths")
        counts = np.array(table, np.int64)
        draws = counts.sum(axis=1) if draws is None else draws
        if (counts < 0).any() or (counts.sum(axis=1) != draws).any():
            wrong = int(((counts < 0).any(axis=1) | (counts.sum(axis=1) != draws)).argmax())
            raise NotALog(
                f"row {wrong + 1}: its counts sum to {counts[wrong].sum()}, not to n = {draws[wrong]}"
            )
        return counts, draws
    if "hits" not in named:
        return None, None
    return integers(named["hits"], "count")[:, None], draws


def _certified(
    radius: NDArray[np.float64], predicted: NDArray[np.int64], label: NDArray[np.int64], correct: Sequence[str] | None, quirks: list[str]
) -> NDArray[np.int64]:  # fmt: skip
    """The predicted class, -1 where nothing is certified: below radius 0, and at 0 where the log itself says so."""
    right = predicted == label
    below = (radius < 0) & (predicted != -1)
    if below.any():
        quirks.append(f"not certified: {counted(int(below.sum()), 'row')} with a radius below 0")
    stated = said_right(correct, quirks)
    named = np.zeros(len(right), bool)
    if stated is not None and (right & (radius == 0) & ~stated).any():
        named = (radius == 0) & ~stated & (predicted != -1)
        quirks.append(
            f"not certified: {counted(int(named.sum()), 'row')} with radius 0 and correct 0, abstentions that name a class"
        )
    if stated is not None:
        wrong = int(((stated != right) & ~below & ~named & (predicted != -1)).sum())
        if wrong:
            quirks.append(
                f"its column correct is wrong in {counted(wrong, 'row')}; it is recomputed from predict and label"
            )
    return np.where(below | named, -1, predicted)


def _check(
    index: NDArray[Any], label: NDArray[Any], predicted: NDArray[Any], norms: dict[str, NDArray[Any]]
) -> None:
    found = [("idx", index, index < 0), ("label", label, label < 0), ("predict", predicted, predicted < -1)]
    # The radius of an abstention is meaningless.
    found += [("radius", radius, ~np.isfinite(radius) & (predicted != -1)) for radius in norms.values()]
    for name, values, bad in found:
        if bad.any():
            row = int(bad.argmax())
            raise NotALog(f"row {row + 1}: its {name} can't be {values[row]:g}")


def _once(radii: Radii, losses: list[str]) -> Radii:
    """Each image once, ascending; refuses two different results for one image."""
    positions, first, which = np.unique(radii.index, return_index=True, return_inverse=True)
    kept = radii.take(first)
    if len(positions) < len(radii):
        again = kept.take(which)
        for name in ("label", "predicted", "radius", "counts"):
            if name in radii.columns:
                differ = radii.columns[name] != again.columns[name]
                differ = differ.any(axis=1) if differ.ndim > 1 else differ
                if differ.any():
                    raise NotALog(
                        f"image {radii.index[differ.argmax()]} is in it twice, with another {name}: two runs in one file"
                    )
        losses.append(f"left out: {counted(len(radii) - len(positions), 'repeated row')} of an image")
    return kept


def log_text(rows: Iterable[tuple[int, int, int, float, float]]) -> str:
    """Rows of position, label, predicted, radius and seconds as such a log, radii in full.

    A radius of three digits would be rounded up half of the time; every reader of these logs takes more digits.
    """
    text = io.StringIO()
    text.write("\t".join(LOG_HEADER) + "\n")
    for index, label, predicted, radius, seconds in rows:
        took = timedelta(seconds=seconds) if seconds == seconds else timedelta(0)
        text.write(f"{index}\t{label}\t{predicted}\t{radius!r}\t{int(predicted == label)}\t{took}\n")
    return text.getvalue()
