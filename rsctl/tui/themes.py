"""Two quiet themes; Textual's own are available too (command palette: Theme)."""

from __future__ import annotations

from textual.theme import Theme

from rsctl.tui.widgets.data import data

THEMES = tuple(Theme(**theme) for theme in data("themes.toml")["themes"])
SERIES: dict[str, str] = data("themes.toml")["series"]
"""Colours of the fourth to sixth curve in themes without their own; the first three are a theme's main colours."""
