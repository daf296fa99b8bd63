"""Component classes of the stylesheet as rich styles, for widgets that draw their own lines."""

from __future__ import annotations

from rich.style import Style
from textual.widget import Widget


def component(widget: Widget, name: str) -> Style:
    """Colour, background and text style of a component class; transparent colours are blended with what lies below."""
    styles = widget.get_component_styles(name)
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
