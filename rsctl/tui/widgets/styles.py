"""Tones of the style sheet for widgets that draw their own lines, and a text that avoids new layouts."""

from __future__ import annotations

from rich.cells import cell_len
from rich.style import Style
from rich.text import Text
from textual.widget import Widget
from textual.widgets import Static

SERIES = 6
"""Number of curves with their own tone: `0` to `5`."""
TONES = (
    "strong", "muted", "faint", "quiet", "here", "chosen", "tab", "key", "mark", "cursor", "cursor-away", "stale", "error-line", "band",
    "running", "queued", "waiting", "failed", "lost", "cancelled", "unknown", "new", "done",
    *map(str, range(SERIES)),
)  # fmt: skip
TONE_CLASSES = {f"tone--{name}" for name in TONES}
"""Component classes of the dashboard itself: the style sheet is applied to them once, not per widget."""


def tone(widget: Widget, name: str) -> Style:
    """Colour, background and text style of a tone on this widget; transparent colours are blended with the background."""
    styles = widget.app.get_component_styles(f"tone--{name}")
    _, below = widget.background_colors
    background = below
    shown = Style.null()
    if styles.has_rule("background"):
        background = below + styles.background
        shown += Style(bgcolor=background.rich_color)
    if styles.has_rule("color"):
        shown += Style(color=(background + styles.color).rich_color)
    if styles.has_rule("text_style"):
        shown += styles.text_style
    return shown


class TextBlock(Static):
    """Text that is laid out again only when its number of lines changes."""

    def show(self, text: Text) -> None:
        width = max(1, self.size.width)
        lines = (
            sum(max(1, -(-cell_len(line) // width)) for line in text.plain.split("\n")) if text.plain else 0
        )
        state = (lines, width)
        self.update(text, layout=state != getattr(self, "_size_shown", None))
        self._size_shown = state
