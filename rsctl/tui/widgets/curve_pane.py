"""Curves of the row under the cursor, with words below: what is shown of the last row goes when the next one takes long."""

from __future__ import annotations

from rich.style import Style
from rich.text import Text
from textual.containers import Vertical
from textual.timer import Timer

from rsctl.tui.widgets.chart import Chart
from rsctl.tui.widgets.styles import SERIES, Lines, tone

PATIENCE = 0.4
"""Seconds until a curve that isn't there yet leaves an empty chart."""


class CurvePane(Vertical):
    """Charts and a text; whoever fills them calls `arrived` first."""

    READING = "reading …"

    def __init__(self, id: str) -> None:  # noqa: A002
        super().__init__(id=id)
        self._about = ""
        self._clearing: Timer | None = None

    def about(self, key: str) -> None:
        """Another row is under the cursor: take away what is shown of the last one."""
        if key == self._about:
            return
        self._about = key
        self.arrived()
        # What is read at once replaces the last curve; what takes longer must not stand beside another run's name.
        self._clearing = self.set_timer(PATIENCE, self._clear)

    def arrived(self) -> None:
        """What is shown next is of this row."""
        if self._clearing is not None:
            self._clearing.stop()

    def _clear(self) -> None:
        for chart in self.query(Chart):
            chart.show([], empty=self.READING if self._about else "")
        self.query_one(Lines).tell(Text())

    def legend(self, text: Text, place: int, title: str) -> None:
        """Begin a line of the text with the colour and the name of a curve."""
        style: Style = tone(self, str(place % SERIES))
        text.append("━━ ", style)
        text.append(title)
