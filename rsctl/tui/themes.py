"""Two quiet themes; Textual's own are available too (command palette: Theme)."""

from __future__ import annotations

from textual.theme import Theme

THEMES = (
    Theme(
        "rsctl-dark",
        primary="#82aaff",
        secondary="#7fb8a4",
        accent="#e0af68",
        success="#8fbf7f",
        warning="#e0af68",
        error="#e57878",
        foreground="#d4d8e0",
        background="#14161b",
        surface="#1a1d24",
        panel="#242933",
        dark=True,
    ),
    Theme(
        "rsctl-light",
        primary="#2f5fb3",
        secondary="#2f7d68",
        accent="#a8660b",
        success="#3f7d2f",
        warning="#a8660b",
        error="#b83a3a",
        foreground="#24282f",
        background="#fbfaf7",
        surface="#f3f1ec",
        panel="#e6e3dc",
        dark=False,
        variables={"series-3": "#9c3f7c", "series-4": "#5f4bb3", "series-5": "#756a12"},
    ),
)
SERIES = {"series-3": "#cf8fb8", "series-4": "#a695d8", "series-5": "#b5a642"}
"""Colours of the fourth to sixth curve in themes without their own; the first three are a theme's main colours."""
