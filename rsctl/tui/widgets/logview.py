"""A log: the window of lines in sight; scrolling beyond its edge asks for the next one."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from rsctl.tui.logs import Window
from rsctl.tui.widgets.styles import tone


class LogView(ScrollView, can_focus=True):
    """Follows the end of the log until one scrolls up."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "go(-1)", "Up", show=False),
        Binding("down,j", "go(1)", "Down", show=False),
        Binding("pageup", "page(-1)", "Page up", show=False),
        Binding("pagedown", "page(1)", "Page down", show=False),
        Binding("home,g", "beginning", "Beginning of the log", show=False),
        Binding("end,G", "end", "End of the log, and follow it", show=False),
        Binding("left", "aside(-8)", "Left", show=False),
        Binding("right", "aside(8)", "Right", show=False),
    ]

    class Needed(Message):
        """The lines about this byte are to be read; None for the end of the file."""

        def __init__(self, byte: int | None) -> None:
            super().__init__()
            self.byte = byte

    def __init__(self, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.path: Path | None = None
        self.window: Window | None = None
        self.following = True
        self.note = ""
        """A sentence where there is nothing to show."""
        self._mark = -1

    def about(self, path: Path | None, note: str) -> bool:
        """Which log it is; True if that changed."""
        self.note = note
        if path == self.path:
            return False
        self.path, self.window, self.following, self._mark = path, None, True, -1
        if self.display:
            self.virtual_size = Size(1, 1)
            self.scroll_to(0, 0, animate=False, force=True)
            self.refresh()
        return True

    def show(self, window: Window) -> None:
        """These lines instead, with the anchor in sight."""
        if window.path != self.path:
            return
        top = self._top_byte()
        self.window = window
        self.virtual_size = Size(max(map(cell_len, window.lines), default=1), max(1, len(window.lines)))
        if window.anchor is None:
            if self.following:
                self._put(len(window.lines))
            elif top is not None:
                self._put(self._line_of(top))
        else:
            self.following = False
            self._put(self._line_of(window.anchor) - (3 if self._mark >= 0 else 0))
        self.refresh()

    def mark(self, byte: int) -> None:
        """Set off the line that begins here."""
        self._mark = byte
        self.refresh()

    def above(self) -> int:
        """The byte above which to look for an error: the marked line, else the end of what is in sight."""
        if self._mark >= 0:
            return self._mark
        if self.window is None:
            return 1 << 62
        last = round(self.scroll_offset.y) + self._height
        return self.window.offsets[last] if last < len(self.window.offsets) else self.window.end

    def _line_of(self, byte: int) -> int:
        offsets = self.window.offsets if self.window else ()
        return max(0, sum(offset <= byte for offset in offsets) - 1)

    def _top_byte(self) -> int | None:
        if self.window is None or not self.window.offsets:
            return None
        return self.window.offsets[min(round(self.scroll_offset.y), len(self.window.offsets) - 1)]

    @property
    def _height(self) -> int:
        return max(1, self.scrollable_content_region.height)

    def _put(self, line: int) -> None:
        lines = len(self.window.lines) if self.window else 0
        self.scroll_to(y=max(0, min(line, lines - self._height)), animate=False, force=True)

    def action_go(self, by: int) -> None:
        """Scroll; beyond the edge of the window the next one is asked for."""
        if self.window is None or not self.window.offsets:
            return
        top = round(self.scroll_offset.y)
        last = max(0, len(self.window.lines) - self._height)
        if top + by < 0 and self.window.start > 0:
            self._mark = -1
            self.post_message(self.Needed(self.window.offsets[0]))
        elif top + by > last and self.window.end < self.window.size:
            self._mark = -1
            self.post_message(self.Needed(self.window.offsets[min(top, len(self.window.offsets) - 1)]))
        self.following = top + by >= last and self.window.end >= self.window.size
        self._put(top + by)

    def action_page(self, by: int) -> None:
        self.action_go(by * max(1, self._height - 1))

    def action_aside(self, by: int) -> None:
        self.scroll_to(x=max(0, round(self.scroll_offset.x) + by), animate=False, force=True)

    def action_beginning(self) -> None:
        self.following = False
        if self.window is not None and self.window.start > 0:
            self.post_message(self.Needed(0))
        else:
            self._put(0)

    def action_end(self) -> None:
        self.following = True
        self.post_message(self.Needed(None))

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
        if index >= len(window.lines):
            return Strip.blank(width, base)
        style = base + tone(self, "error-line") if window.offsets[index] == self._mark else base
        return Strip([Segment(window.lines[index], style)]).crop_extend(left, left + width, base)
