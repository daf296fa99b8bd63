"""The first line: modes, the store, and the age of the data."""

from __future__ import annotations

import time

from rich.segment import Segment
from rich.style import Style
from textual.events import Click
from textual.message import Message
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget

from rsctl.tui.read_only import is_read_only
from rsctl.tui.widgets.styles import tone

STALE = 10.0


class TopBar(Widget):
    """`modes` are (key, name) pairs; a click on one opens it."""

    class ModeSelected(Message):
        """A mode was clicked."""

        def __init__(self, mode: str) -> None:
            super().__init__()
            self.mode = mode

    _right = reactive(("", False))
    """Text at the right end, and True where it is a warning."""

    def __init__(self, modes: list[tuple[str, str]], here: str) -> None:
        super().__init__()
        self._modes, self._here = modes, here
        self._places: list[tuple[int, int, str]] = []

    def show_status(self, store: str, taken: float, paused: bool, hung: float, unheard: float = 0.0) -> None:
        """`taken`: Unix time of the last poll, 0 before the first; `hung`: seconds the running poll has taken;
        `unheard`: Unix time of the scheduler's last response if it doesn't respond, -1 if it never did.
        """
        age = time.time() - taken
        if not taken:
            text, stale = ("reading the store", False) if hung < STALE else (f"store not responding, {hung:.0f} s", True)  # fmt: skip
        elif paused:
            text, stale = f"paused · as of {_age(age)} ago", False
        elif age > STALE:
            text, stale = f"stale: as of {_age(age)} ago" + (", store or queue not responding" if hung > STALE else ""), True  # fmt: skip
        elif unheard:
            told = f"silent for {_age(time.time() - unheard)}" if unheard > 0 else "never responded"
            text, stale = f"SLURM {told}", True
        else:
            text, stale = "live", False
        if is_read_only():
            text = f"read-only · {text}"
        room = self.size.width - sum(len(name) + 5 for _, name in self._modes) - 10
        self._right = (f"{store} · {text}" if store and len(store) + len(text) + 3 <= room else text, stale)

    def render_line(self, y: int) -> Strip:
        base = self.rich_style
        style = {name: base + tone(self, name) for name in ("key", "here", "tab", "quiet", "stale")}
        segments = [Segment(" rsctl ", style["key"] + Style(bold=True)), Segment(" ", base)]
        place = 8
        self._places = []
        for key, name in self._modes:
            text = f" {key} {name} "
            self._places.append((place, place + len(text), name.lower()))
            segments += [
                Segment(text, style["here" if name.lower() == self._here else "tab"]),
                Segment(" ", base),
            ]
            place += len(text) + 1
        text, stale = self._right
        room = self.size.width - place - 1
        if room > 3:
            segments.append(Segment(f"{text[-room:]:>{room}} ", style["stale" if stale else "quiet"]))
        return Strip(segments).adjust_cell_length(self.size.width, base)

    def on_click(self, event: Click) -> None:
        for start, end, mode in self._places:
            if start <= event.x < end and mode != self._here:
                self.post_message(self.ModeSelected(mode))


def _age(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
