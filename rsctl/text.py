"""Formats counts, rates and durations for people."""

from __future__ import annotations


def counted(number: int, what: str, several: str = "") -> str:
    """Format `1 image`, `2 images`, `10,000 images`; `several` is an irregular plural."""
    return f"{number:,} {what if number == 1 else several or f'{what}s'}"


def nth(number: int) -> str:
    """Format `1st`, `2nd`, `3rd`, `4th`, `11th`, `22nd`."""
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def per_second(rate: float, unit: str = "") -> str:
    """Format `0.028/s`, `20/s`, `12,345 images/s`."""
    return (f"{rate:,.0f}" if rate >= 100 else f"{rate:.2g}") + (f" {unit}/s" if unit else "/s")


def duration(seconds: float) -> str:
    """Format `42 s`, `3 min`, `2 h 05`, `3 d 04 h`; anything above 0 is at least a second."""
    if seconds < 90:
        return f"{max(seconds, 1.0) if seconds else 0:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    if seconds < 48 * 3600:
        return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60):02d}"
    return f"{int(seconds // 86400)} d {int(seconds % 86400 // 3600):02d} h"


def path_text(path: str) -> str:
    """Format a path for a message: quoted and escaped if it contains control characters or line breaks."""
    return path if path.isprintable() else repr(path)


def radius_text(radius: float) -> str:
    """A radius in a table's head: `0.25`, and `2/255` where the number is one and no shorter."""
    text, steps = f"{radius:g}", round(radius * 255)
    return f"{steps}/255" if len(text) > 5 and radius == steps / 255 else text
