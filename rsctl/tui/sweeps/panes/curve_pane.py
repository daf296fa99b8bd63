"""Curves of the row under the cursor, with text below; those of the last row disappear if the next take long."""

from __future__ import annotations

from rich.style import Style
from rich.text import Text
from textual.containers import Vertical
from textual.timer import Timer

from rsctl.tui.sweeps.selection import Selection
from rsctl.tui.widgets.chart import Chart
from rsctl.tui.widgets.styles import SERIES, TextBlock, tone

PATIENCE = 0.4
"""Seconds to wait for new curves before the old ones are cleared."""


class CurvePane(Vertical):
    """Charts and a text; the code that fills them calls `arrived` first."""

    READING = "Reading …"

    def __init__(self) -> None:
        super().__init__()
        self._about = ""
        self._clearing: Timer | None = None

    def select(self, selection: Selection) -> None:
        """Clear the last row's curves if another row is under the cursor."""
        key = selection.run.key if selection.run else selection.sweep.name if selection.sweep else ""
        if key == self._about:
            return
        self._about = key
        self.arrived()
        # Quick reads replace the last curves directly; otherwise those must not stay beside another run's name.
        self._clearing = self.set_timer(PATIENCE, self._clear)

    def arrived(self) -> None:
        """Stop the clearing: this row's curves have arrived."""
        if self._clearing is not None:
            self._clearing.stop()

    def _clear(self) -> None:
        for chart in self.query(Chart):
            chart.show([], empty=self.READING if self._about else "")
        self.query_one(TextBlock).show(Text())

    def legend(self, text: Text, place: int, title: str) -> None:
        """Append a curve's colour and name to the text."""
        style: Style = tone(self, str(place % SERIES))
        text.append("━━ ", style)
        text.append(title)
