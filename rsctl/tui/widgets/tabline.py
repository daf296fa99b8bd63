"""A line of tabs with the key of each; the chosen one is shown in the panel below."""

from __future__ import annotations

from rich.segment import Segment
from textual.events import Click
from textual.message import Message
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget

from rsctl.tui.widgets.styles import tone


class TabLine(Widget):
    """`tabs` are (key, name) pairs; the key may be empty. Where they don't all fit, keys stand for those that aren't chosen."""

    class Selected(Message):
        """A name was clicked."""

        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

    here = reactive("")
    note = reactive("")
    """Text at the right end, cut to the space left."""

    def __init__(self, tabs: list[tuple[str, str]], here: str) -> None:
        super().__init__()
        self._tabs, self.here = tabs, here
        self._places: list[tuple[int, int, str]] = []

    def render_line(self, y: int) -> Strip:
        base = self.rich_style
        style = {name: base + tone(self, name) for name in ("key", "tab", "chosen", "quiet")}
        segments: list[Segment] = []
        self._places = []
        place = 0
        all_fit = sum(len(_key(key)) + len(name) + 1 for key, name in self._tabs) <= self.size.width
        for key, name in self._tabs:
            chosen = name == self.here
            words = f"{name} " if all_fit or chosen or not key else ""
            segments += [
                Segment(_key(key), style["chosen" if chosen else "key"]),
                Segment(words, style["chosen" if chosen else "tab"]),
            ]
            self._places.append((place, place + len(_key(key)) + len(words), name))
            place = self._places[-1][1]
        room = self.size.width - place - 2
        if room > 8 and self.note:
            text = self.note if len(self.note) <= room else self.note[: room - 1] + "…"
            segments.append(Segment(f" {text:>{room}} ", style["quiet"]))
        return Strip(segments).adjust_cell_length(self.size.width, base)

    def on_click(self, event: Click) -> None:
        for start, end, name in self._places:
            if start <= event.x < end:
                self.post_message(self.Selected(name))


def _key(key: str) -> str:
    return f" {key} " if key else " "
