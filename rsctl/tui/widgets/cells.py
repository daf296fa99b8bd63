"""Columns, rows and cells of a grid, and fitting cells to a width."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rich.cells import cell_len, chop_cells, set_cell_size

from rsctl.tui.views import GLYPHS

Cell = str | tuple[tuple[str, str], ...]
"""Plain text, or pieces of text each with the name of a tone (`muted`, `failed` …)."""


@dataclass(frozen=True)
class GridColumn:
    """A column. `width` is in cells, 0 takes the remaining space; if space is short, columns with a high `drop` go first.

    Columns with `drop` 0 that don't fit are scrolled to with left and right; the first one always stays.
    """

    title: str
    width: int = 0
    right: bool = False
    drop: int = 0
    least: int = 22
    """Least width of a column that takes the remaining space; others are dropped before it gets less."""


@dataclass(frozen=True)
class GridRow:
    """A row. `key` identifies it; `open` is None for a row that doesn't fold."""

    key: str
    cells: tuple[Cell, ...]
    depth: int = 0
    open: bool | None = None


def marked(columns: Sequence[GridColumn], sort: str) -> list[GridColumn]:
    """The columns, with the sort column marked; the first one is the usual order, and has no mark."""
    return [
        replace(one, title=f"{one.title} ▾", width=max(one.width, len(one.title) + 2) if one.width else 0)
        if one.title == sort and i
        else one
        for i, one in enumerate(columns)
    ]


def widths(columns: Sequence[GridColumn], room: int, skipped: int) -> tuple[list[int], int]:
    """The width of each column in `room` cells, 0 for hidden ones; and the number of columns scrolled out to the left.

    `skipped` is the requested number of columns, after the first, to scroll out; if all fit, none is.
    """
    shown = set(range(len(columns)))

    def needed() -> int:
        return sum((columns[i].width or columns[i].least) + 1 for i in shown) - 1

    for i in sorted(shown, key=lambda i: -columns[i].drop):
        if needed() > room and columns[i].drop:
            shown.discard(i)
    skipped = max(0, min(skipped, len(shown) - 2)) if needed() > room else 0
    for i in sorted(shown)[1 : 1 + skipped]:
        shown.discard(i)
    for i in sorted(shown)[:0:-1]:
        if needed() > room and len(shown) > 2:
            shown.discard(i)
    flexible = [i for i in shown if not columns[i].width]
    # A gap after the last column too, for a scroll bar.
    left = max(12 * len(flexible), room - sum(columns[i].width + 1 for i in shown))
    found = [
        0
        if i not in shown
        else column.width or left // len(flexible) + (left % len(flexible) if i == flexible[0] else 0)
        for i, column in enumerate(columns)
    ]
    return found, skipped


def pieces(cell: Cell, room: int, right: bool, middle: bool = False) -> list[tuple[str, str]]:
    """A cell as pieces of text with the names of their tones, exactly `room` terminal cells wide."""
    if isinstance(cell, str):
        return [(fit(cell, room, right, middle), "")]
    found: list[tuple[str, str]] = []
    for text, name in cell:
        size = cell_len(text)
        found.append((text if size <= room else fit(text, room, False, middle), name))
        room -= min(size, room)
    padding = (" " * room, "")
    return [padding, *found] if right else [*found, padding]


def size_of(cell: Cell) -> int:
    return cell_len(cell) if isinstance(cell, str) else sum(cell_len(text) for text, _ in cell)


def fit(text: str, room: int, right: bool, middle: bool = False) -> str:
    """A text in exactly `room` cells; an ellipsis marks a cut.

    With `middle` the text is a name: the part that distinguishes it from others is cut last.
    """
    size = cell_len(text)
    if size > room and middle and (" · " in text or " σ " in text):
        text = narrowed(text, room)
        size = cell_len(text)
    if size > room:
        if middle and room > 3:
            end = chop_cells(text[::-1], 2 * (room - 1) // 3)[0][::-1]
            return set_cell_size(text, room - 1 - cell_len(end)) + "…" + end
        return set_cell_size(text, max(0, room - 1)) + ("…" if room else "")
    return " " * (room - size) + text if right else text + " " * (room - size)


def narrowed(text: str, room: int) -> str:
    """Shortens a run's name (`method σ 0.5 · seed 0`) as far as possible without cutting a value.

    The dots go first, then the names of its settings, and methods last.
    """
    parts = [part.partition(" ") for part in text.split(" · ")]
    settings = [i for i, (_, _, rest) in enumerate(parts) if rest and not rest.startswith("σ ")]
    methods = [i for i in range(len(parts)) if i not in settings]
    rooms = [len(word) for word, _, _ in parts]

    def joined() -> str:
        words = (
            word
            if len(word) <= size or size < 1
            else word[: size - 1] + "…"
            if size > 2 - (i in methods)
            else word[0]
            for i, ((word, _, _), size) in enumerate(zip(parts, rooms, strict=True))
        )
        return " ".join(word + gap + rest for word, (_, gap, rest) in zip(words, parts, strict=True))

    for which, least in ((settings, 1), (methods, 2)):
        while cell_len(joined()) > room and any(rooms[i] > least for i in which):
            rooms[max(which, key=lambda i: rooms[i])] -= 1
    return joined()


def mark_of(warning: str) -> str:
    """The short form of a warning: `one class` or `at chance`."""
    return warning.partition(":")[0].lower()


def state_cell(state: str, text: str) -> Cell:
    return ((f"{GLYPHS[state]} {text}", state),)


def bar(share: float, width: int, name: str) -> tuple[tuple[str, str], ...]:
    """A progress bar in `width` cells, in halves of a cell; full only where everything is done."""
    full, half = divmod(int(min(1.0, max(0.0, share)) * width * 2), 2)
    drawn = "━" * full + "╸" * half
    return ((drawn, name), ("─" * (width - len(drawn)), "faint"))
