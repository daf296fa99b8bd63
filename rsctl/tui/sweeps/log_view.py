"""A view of a log: holds a window of its lines and requests the next one when scrolled past the edge."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from rich.cells import cell_len, chop_cells
from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding, BindingType
from textual.events import Click, Resize
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.selection import Selection
from textual.strip import Strip

from rsctl.tui.sweeps.log_files import Window
from rsctl.tui.widgets.styles import tone


class LogView(ScrollView, can_focus=True):
    """Follows the end of the log until the user scrolls up."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "go(-1)", "Up", show=False),
        Binding("down,j", "go(1)", "Down", show=False),
        Binding("pageup", "page(-1)", "Page up", show=False),
        Binding("pagedown", "page(1)", "Page down", show=False),
        Binding("home,g", "beginning", "First", show=False, tooltip="Beginning of the log"),
        Binding("end,G", "end", "Last", show=False, tooltip="End of the log, and follow it"),
        Binding("left", "aside(-8)", "Left", show=False),
        Binding("right", "aside(8)", "Right", show=False),
        Binding("slash", "search", "Search", key_display="/", tooltip="Search the whole log"),
        Binding("n", "again(True)", "Next match", show=False),
        Binding("N", "again(False)", "Previous match", show=False),
        Binding("z", "wrap", "Wrap or cut long lines", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.path: Path | None = None
        self.window: Window | None = None
        self.following = True
        self.note = ""
        """Message shown without a log."""
        self.wrap = False
        self._mark = -1
        self.sought = ""
        """The last search text."""
        self._rows: list[tuple[int, str]] = []
        """For each row of the view, the number of its line in the window and its part of the line."""

    def request(self, byte: int | None) -> None:
        """Read the lines around this byte, or the end of the file."""
        raise NotImplementedError

    def seek(self, byte: int, forward: bool) -> None:
        """Find the search text from this byte on, or above it."""
        raise NotImplementedError

    def action_search(self) -> None:
        """Prompt for a search text."""
        raise NotImplementedError

    def set_log(self, path: Path | None, note: str) -> None:
        """Set the log to show, and the message shown without one."""
        self.note = note
        if path == self.path:
            return
        self.path, self.window, self.following, self._mark = path, None, True, -1
        self._rows = []
        if self.display:
            self.virtual_size = Size(1, 1)
            self.scroll_to(0, 0, animate=False, force=True)
            self.refresh()

    def show_window(self, window: Window) -> None:
        """Show these lines, with the anchor visible."""
        if window.path != self.path:
            return
        top = self._top_byte()
        self.window = window
        self._lay_out()
        if window.anchor is None:
            if self.following:
                self._put(len(self._rows))
            elif top is not None:
                self._put(self._row_of(top))
        else:
            self.following = False
            self._put(self._row_of(window.anchor) - (3 if self._mark >= 0 else 0))
        self.refresh()

    def _lay_out(self) -> None:
        """Lay out the lines of the window in rows: one each, or several for a wrapped line."""
        lines, width = self.window.lines if self.window else (), max(8, self.size.width)
        if self.wrap:
            self._rows = [
                (i, part) for i, line in enumerate(lines) for part in chop_cells(line, width) or [""]
            ]
        else:
            self._rows = list(enumerate(lines))
        widest = max((cell_len(text) for _, text in self._rows), default=1)
        self.virtual_size = Size(max(1, widest), max(1, len(self._rows)))

    def on_resize(self, _event: Resize) -> None:
        if self.wrap:
            self._laid_out_anew()

    def _laid_out_anew(self) -> None:
        top = self._top_byte()
        self._lay_out()
        self._put(len(self._rows) if self.following or top is None else self._row_of(top))
        self.refresh()

    def mark(self, byte: int) -> None:
        """Highlight the line that begins at this byte."""
        self._mark = byte
        self.refresh()

    def above(self) -> int:
        """The byte above which to search for an error: the marked line, else the end of the visible part."""
        if self._mark >= 0:
            return self._mark
        if self.window is None:
            return 1 << 62
        last = round(self.scroll_offset.y) + self._height
        return self._byte(last) if last < len(self._rows) else self.window.end

    def line(self) -> str:
        """The marked line, else the last visible one."""
        if self.window is None or not self._rows:
            return ""
        if self._mark in self.window.offsets:
            return self.window.lines[self.window.offsets.index(self._mark)]
        last = min(round(self.scroll_offset.y) + self._height, len(self._rows)) - 1
        return self.window.lines[self._rows[last][0]]

    def _byte(self, row: int) -> int:
        """The first byte of a row's line."""
        return self.window.offsets[self._rows[row][0]] if self.window else 0

    def _row_of(self, byte: int) -> int:
        """The first row of the line that this byte is in."""
        offsets = self.window.offsets if self.window else ()
        line = max(0, sum(offset <= byte for offset in offsets) - 1)
        return next((row for row, (number, _) in enumerate(self._rows) if number == line), 0)

    def _top_byte(self) -> int | None:
        if not self._rows:
            return None
        return self._byte(min(round(self.scroll_offset.y), len(self._rows) - 1))

    @property
    def _height(self) -> int:
        return max(1, self.scrollable_content_region.height)

    def _put(self, row: int) -> None:
        self.scroll_to(y=max(0, min(row, len(self._rows) - self._height)), animate=False, force=True)

    def action_go(self, by: int) -> None:
        """Scroll; past the edge of the window, request the next one."""
        if self.window is None or not self.window.offsets:
            return
        top = round(self.scroll_offset.y)
        last = max(0, len(self._rows) - self._height)
        if top + by < 0 and self.window.start > 0:
            self._mark = -1
            self.request(self.window.offsets[0])
        elif top + by > last and self.window.end < self.window.size:
            self._mark = -1
            self.request(self._byte(min(top, len(self._rows) - 1)))
        self.following = top + by >= last and self.window.end >= self.window.size
        self._put(top + by)

    def action_page(self, by: int) -> None:
        self.action_go(by * max(1, self._height - 1))

    def action_aside(self, by: int) -> None:
        self.scroll_to(x=max(0, round(self.scroll_offset.x) + by), animate=False, force=True)

    def action_beginning(self) -> None:
        self.following = False
        if self.window is not None and self.window.start > 0:
            self.request(0)
        else:
            self._put(0)

    def action_end(self) -> None:
        self.following = True
        self.request(None)

    def action_wrap(self) -> None:
        """Wrap long lines over several rows, or cut them at the edge."""
        self.wrap = not self.wrap
        self.scroll_to(x=0, animate=False, force=True)
        self._laid_out_anew()

    def action_again(self, forward: bool) -> None:
        """Go to the next or previous line with the search text."""
        if not self.sought:
            self.action_search()
        elif self.window is not None and self._rows:
            byte = self._mark if self._mark >= 0 else self._top_byte() or 0
            if forward and self._mark >= 0:
                after = [offset for offset in self.window.offsets if offset > self._mark]
                byte = after[0] if after else self.window.end
            self.seek(byte, forward)

    def on_click(self, event: Click) -> None:
        """Mark the clicked line, for `y` to copy."""
        place = event.get_content_offset(self)
        row = place.y + round(self.scroll_offset.y) if place else len(self._rows)
        if row < len(self._rows) and not self.text_selection:
            self.mark(self._byte(row))

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        return selection.extract("\n".join(text for _, text in self._rows)), "\n"

    def selection_updated(self, selection: Selection | None) -> None:
        self.refresh()

    def _on_mouse_scroll_up(self, event: object) -> None:
        self.action_go(-3)

    def _on_mouse_scroll_down(self, event: object) -> None:
        self.action_go(3)

    def render_line(self, y: int) -> Strip:
        base, width = self.rich_style, self.size.width
        left, index = round(self.scroll_offset.x), y + round(self.scroll_offset.y)
        window = self.window
        if window is None or not window.lines:
            text = "" if y else f" {self.note}"
            return Strip([Segment(text, base + tone(self, "quiet"))]).adjust_cell_length(width, base)
        if index >= len(self._rows):
            return Strip.blank(width, base)
        number, text = self._rows[index]
        style = base + tone(self, "error-line") if window.offsets[number] == self._mark else base
        strip = Strip([Segment(part, style + selected) for part, selected in self._pieces(index, text)])
        return strip.crop_extend(left, left + width, base).apply_offsets(left, index)

    def _pieces(self, row: int, text: str) -> list[tuple[str, Style]]:
        """A row's text, split at the ends of a selection."""
        span = self.text_selection.get_span(row) if self.text_selection else None
        if span is None:
            return [(text, Style.null())]
        start, end = span[0], len(text) if span[1] == -1 else span[1]
        chosen = self.screen.get_component_rich_style("screen--selection")
        return [(text[:start], Style.null()), (text[start:end], chosen), (text[end:], Style.null())]
