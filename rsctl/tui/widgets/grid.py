"""A table that draws only visible lines: rows have keys, may fold, and the cursor stays on its key.

Textual's DataTable pays for every row it holds and can't insert one in the middle; this one takes the
whole list of rows again at each change, which costs a comparison.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding, BindingType
from textual.events import Click, Resize
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from rsctl.tui.widgets.cells import GridColumn, GridRow, fit, pieces, widths
from rsctl.tui.widgets.styles import tone


class Grid(ScrollView, can_focus=True):
    """Rows below a fixed line of titles."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", show=False),
        Binding("down,j", "move(1)", "Down", show=False),
        Binding("pageup", "page(-1)", "Page up", show=False),
        Binding("pagedown", "page(1)", "Page down", show=False),
        Binding("home,g", "edge(-1)", "First", show=False),
        Binding("end,G", "edge(1)", "Last", show=False),
        Binding("enter", "choose", "Open", show=False, tooltip="Open or close the row"),
        Binding("space", "mark", "Open or mark", show=False, tooltip="Open or close the row"),
        Binding(
            "right", "fold(True)", "Unfold", show=False, tooltip="Open the row, or go to the first one inside"
        ),
        Binding(
            "left", "fold(False)", "Fold", show=False, tooltip="Close the row, or go to the one around it"
        ),
    ]

    empty = reactive("")
    """Message shown without rows."""

    class Moved(Message):
        """The cursor is on another row."""

        def __init__(self, grid: Grid, key: str) -> None:
            super().__init__()
            self.grid, self.key = grid, key

        @property
        def control(self) -> Grid:
            return self.grid

    class Chosen(Moved):
        """Enter, or a click on the row under the cursor."""

    class Marked(Moved):
        """The space bar, on a row that doesn't fold."""

    class Headed(Moved):
        """The title of a column was clicked."""

        def __init__(self, grid: Grid, column: int) -> None:
            super().__init__(grid, grid.key)
            self.column = column

    class Folded(Moved):
        """A row is to be opened or closed."""

        def __init__(self, grid: Grid, key: str, opened: bool) -> None:
            super().__init__(grid, key)
            self.opened = opened

    def __init__(self, columns: Sequence[GridColumn], *, empty: str = "", id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.columns = list(columns)
        self.set_reactive(Grid.empty, empty)
        self.rows: list[GridRow] = []
        self.cursor = 0
        self._widths: list[int] = []
        self._skipped = 0
        """Number of columns after the first that are scrolled out to the left."""
        self._styles: dict[str, Style] = {}

    # Public interface

    @property
    def key(self) -> str:
        """Key of the row under the cursor, or empty."""
        return self.rows[self.cursor].key if self.rows else ""

    def show(self, rows: Sequence[GridRow], columns: Sequence[GridColumn] | None = None) -> None:
        """Show these rows instead. The cursor stays on its key, or near its place if that is gone."""
        before = self.key
        if columns is not None and list(columns) != self.columns:
            self.columns = list(columns)
            self._layout_columns()
            self.refresh()
        elif self.rows == list(rows):
            return
        self.rows = list(rows)
        places = {row.key: i for i, row in enumerate(self.rows)}
        self.cursor = places.get(before, max(0, min(self.cursor, len(self.rows) - 1)))
        self._resize_content()
        self.refresh()
        if self.key != before:
            self._follow()
            self.post_message(self.Moved(self, self.key))

    def move_to(self, key: str) -> bool:
        """Put the cursor on a row; False if no row has this key."""
        for place, row in enumerate(self.rows):
            if row.key == key:
                self._put(place)
                return True
        return False

    # Keys and mouse

    def action_move(self, by: int) -> None:
        self._put(self.cursor + by)

    def action_page(self, by: int) -> None:
        self._put(self.cursor + by * max(1, self.size.height - 2))

    def action_edge(self, side: int) -> None:
        self._put(0 if side < 0 else len(self.rows) - 1)

    def action_choose(self) -> None:
        if not self.rows:
            return
        row = self.rows[self.cursor]
        if row.open is None:
            self.post_message(self.Chosen(self, row.key))
        else:
            self.post_message(self.Folded(self, row.key, not row.open))

    def action_mark(self) -> None:
        if self.rows and self.rows[self.cursor].open is None:
            self.post_message(self.Marked(self, self.key))
        else:
            self.action_choose()

    def action_fold(self, opened: bool) -> None:
        """Open or close the row; on a row that can't, left goes to the row around it."""
        if not self.rows:
            return
        row = self.rows[self.cursor]
        if row.open is None and row.depth == 0:
            self._pan(1 if opened else -1)
        elif row.open is (not opened):
            self.post_message(self.Folded(self, row.key, opened))
        elif not opened:
            above = [i for i in range(self.cursor) if self.rows[i].depth < row.depth]
            if above:
                self._put(above[-1])
        elif row.open and self.cursor + 1 < len(self.rows):
            self._put(self.cursor + 1)

    def on_click(self, event: Click) -> None:
        place = event.get_content_offset(self)
        if place is None:
            return
        if place.y == 0:
            self._head_clicked(place.x)
            return
        index = place.y - 1 + round(self.scroll_offset.y)
        if index >= len(self.rows):
            return
        row = self.rows[index]
        again = index == self.cursor
        self._put(index)
        if row.open is not None and (again or place.x <= 2 * row.depth + 1):
            self.post_message(self.Folded(self, row.key, not row.open))
        elif row.open is None and again:
            self.post_message(self.Chosen(self, row.key))

    def _head_clicked(self, x: int) -> None:
        edge = -round(self.scroll_offset.x)
        for column, width in enumerate(self._widths):
            edge += width + 1 if width else 0
            if x < edge:
                self.post_message(self.Headed(self, column))
                return

    def _put(self, place: int) -> None:
        place = max(0, min(place, len(self.rows) - 1))
        if not self.rows or place == self.cursor:
            return
        before, self.cursor = self.cursor, place
        if not self._follow():
            # Two lines are cheaper to draw than all of them.
            for line in (before, place):
                self.refresh(Region(0, 1 + line - round(self.scroll_offset.y), self.size.width, 1))
        self.post_message(self.Moved(self, self.key))

    def _follow(self) -> bool:
        """Scroll just enough to show the cursor; True if anything moved."""
        height = max(1, self.scrollable_content_region.height - 1)
        top = round(self.scroll_offset.y)
        wanted = min(max(top, self.cursor - height + 1), self.cursor)
        if wanted != top:
            self.scroll_to(y=wanted, animate=False, force=True)
        return wanted != top

    # Drawing

    def on_resize(self, _event: Resize) -> None:
        self._layout_columns()
        self._resize_content()
        self._follow()

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._styles.clear()

    def _layout_columns(self) -> None:
        self._widths, self._skipped = widths(self.columns, self.size.width, self._skipped)

    def _pan(self, by: int) -> None:
        self._skipped = max(0, self._skipped + by)
        self._layout_columns()
        self._resize_content()
        self.refresh()

    def _resize_content(self) -> None:
        width = sum(w + 1 for w in self._widths if w) - 1
        self.virtual_size = Size(max(1, width), len(self.rows) + 1)

    def _style(self, name: str) -> Style:
        if not name:
            return Style.null()
        if name not in self._styles:
            self._styles[name] = tone(self, name)
        return self._styles[name]

    def render_line(self, y: int) -> Strip:
        """The line at `y`: titles first, then the visible rows."""
        base = self.rich_style
        left, top = round(self.scroll_offset.x), round(self.scroll_offset.y)
        width = self.size.width
        if not self._widths:
            return Strip.blank(width, base)
        if y == 0:
            cells: list[tuple[str, Style]] = []
            for i, (column, size) in enumerate(zip(self.columns, self._widths, strict=True)):
                if size:
                    title = fit(column.title, size, column.right)
                    cells.append((title + (" " if i < len(self.columns) - 1 else ""), self._style("quiet")))
            return self._strip(cells, base, left, width)
        index = y - 1 + top
        if index >= len(self.rows):
            if not self.rows and y == 2 and self.empty:
                return Strip([Segment(f"  {self.empty}", base + self._style("muted"))], None).adjust_cell_length(width, base)  # fmt: skip
            return Strip.blank(width, base)
        row = self.rows[index]
        drawn: list[tuple[str, Style]] = []
        for i, (cell, size) in enumerate(zip(row.cells, self._widths, strict=True)):
            if not size:
                continue
            room = size
            if i == 0:
                fold = "  " if row.open is None else ("▾ " if row.open else "▸ ")
                head = "  " * row.depth + fold
                drawn.append((set_cell_size(head, min(cell_len(head), size)), self._style("mark")))
                room = max(0, size - cell_len(head))
            drawn += [
                (text, self._style(name))
                for text, name in pieces(cell, room, self.columns[i].right, middle=i == 0)
            ]
            drawn.append((" ", Style.null()))
        if index == self.cursor:
            # The colour of the cursor bar shows the keyboard focus.
            base = base + self._style("cursor" if self.has_focus else "cursor-away")
        return self._strip(drawn, base, left, width)

    def _strip(self, drawn: list[tuple[str, Style]], base: Style, left: int, width: int) -> Strip:
        strip = Strip([Segment(text, base + style) for text, style in drawn if text])
        return strip.crop_extend(left, left + width, base)
