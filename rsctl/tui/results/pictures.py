"""Pictures in the terminal: by sixels or kitty's protocol where the terminal supports them, else by half-blocks."""

from __future__ import annotations

import fcntl
import struct
import sys
import termios
from collections.abc import Mapping
from io import BytesIO
from typing import Any, cast

from textual.widget import Widget

SIXELS = ("foot", "mlterm", "contour", "WezTerm", "iTerm.app")
"""Prefixes of TERM or TERM_PROGRAM of terminals with sixels."""
KITTY = ("xterm-kitty", "xterm-ghostty")
"""Terminals with kitty's placeholders for images."""


def way(environ: Mapping[str, str], pixels: bool) -> str:
    """`kitty`, `sixel` or `half-blocks`; `pixels` is whether the terminal reports the size of its cells.

    The terminal isn't queried for its features: over a slow line its reply would be taken for pressed keys.
    """
    if not pixels or environ.get("TMUX") or environ.get("STY"):
        return "half-blocks"
    if environ.get("TERM", "").startswith(KITTY):
        return "kitty"
    names = (environ.get("TERM", ""), environ.get("TERM_PROGRAM", ""))
    return "sixel" if any(name.startswith(SIXELS) for name in names) else "half-blocks"


def cell_in_pixels() -> tuple[int, int] | None:
    """Width and height of a cell, as the kernel knows them from the terminal; None where it doesn't."""
    try:
        answer = fcntl.ioctl(sys.__stdout__.fileno(), termios.TIOCGWINSZ, b"\0" * 8)  # type: ignore[union-attr]
    except (OSError, ValueError, AttributeError):
        return None
    rows, columns, width, height = struct.unpack("HHHH", answer)
    return (width // columns, height // rows) if min(rows, columns, width, height) else None


def picture(png: bytes, environ: Mapping[str, str]) -> Widget:
    """A widget that shows a PNG scaled to its own size, with the aspect ratio kept."""
    library = _library()
    kinds = {"kitty": "TGPImage", "sixel": "SixelImage", "half-blocks": "HalfcellImage"}
    kind = getattr(library, kinds[way(environ, cell_in_pixels() is not None)])
    return cast(Widget, kind(BytesIO(png)))


def _library() -> Any:
    """Imports textual-image without letting it query the terminal while Textual reads keys."""
    if "textual_image.widget" not in sys.modules:
        out, sys.__stdout__ = sys.__stdout__, _NoTerminal()  # type: ignore[misc, assignment]
        try:
            from textual_image._terminal import CellSize, get_cell_size

            setattr(get_cell_size, "_result", CellSize(*(cell_in_pixels() or (10, 20))))  # noqa: B010 - its cache
            import textual_image.widget
        finally:
            sys.__stdout__ = out  # type: ignore[misc]
    import textual_image.widget

    return textual_image.widget


class _NoTerminal:
    """Replaces stdout while the library is imported."""

    def isatty(self) -> bool:
        return False

    def fileno(self) -> int:
        raise OSError("no terminal")
