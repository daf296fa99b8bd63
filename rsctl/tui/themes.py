"""Two quiet themes; Textual's own are available too (command palette: Theme)."""

from __future__ import annotations

from importlib.resources import files

import tomli
from textual.theme import Theme

_DATA = tomli.loads(files("rsctl.tui").joinpath("themes.toml").read_text(encoding="utf-8"))
THEMES = tuple(Theme(**theme) for theme in _DATA["themes"])
SERIES: dict[str, str] = _DATA["series"]
"""Colours of the fourth to sixth curve in themes without their own; the first three are a theme's main colours."""
