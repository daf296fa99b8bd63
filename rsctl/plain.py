"""Removes terminal control sequences from untrusted text before it is printed."""

from __future__ import annotations

import io
import re
import sys
import unicodedata
from typing import TextIO

# CSI, OSC and the other string sequences (ended by BEL or ST), then the two-character ones.
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\x07\x1b\n]*(?:\x07|\x1b\\)|[ -/]*[0-~])")
_LONG_WORD = re.compile(r"(?<!\S)\S{300,}")
LONGEST = 2000
_MOST_LINES, _LAST_LINES, _MOST = 60, 5, 10_000


def printable(text: str) -> str:
    """Replace control and invisible characters by �, and unusual spaces by a space."""
    return text if text.isprintable() else "".join(c if c.isprintable() else _shown(c) for c in text)


def _shown(character: str) -> str:
    return " " if unicodedata.category(character) == "Zs" else "�"


def plain(text: str, longest: int = LONGEST) -> str:
    """Return one line without escape sequences and without text that a carriage return overwrites."""
    text = text.rstrip("\r").rpartition("\r")[2][: 64 * longest]
    text = _ESCAPES.sub("", text).expandtabs(4)
    return printable(text if len(text) <= longest else text[: longest - 1] + "…")


def plain_lines(text: str, longest: int = LONGEST) -> list[str]:
    """Return every line of a text without escape sequences."""
    return [plain(line, longest) for line in text.split("\n")]


def harmless(text: str) -> str:
    """Return a text without control characters other than newlines and tabs."""
    return "\n".join(line if line.isprintable() else _harmless_line(line) for line in text.split("\n"))


def _harmless_line(line: str) -> str:
    return "\t".join(map(printable, _ESCAPES.sub("", line.removesuffix("\r")).split("\t")))


def shortened(text: str) -> str:
    """Shorten a message: long values, lines and lists keep their two ends and their length."""
    text = _LONG_WORD.sub(lambda word: _ends(word[0], 250), text)
    lines = [_ends(line, LONGEST) for line in text.split("\n")]
    if len(lines) > _MOST_LINES:
        left_out = len(lines) - _MOST_LINES
        lines = [
            *lines[: _MOST_LINES - _LAST_LINES],
            f"… {left_out:,} more lines …",
            *lines[-_LAST_LINES:],
        ]
    return _ends("\n".join(lines), _MOST)


def _ends(text: str, most: int) -> str:
    if len(text) <= most:
        return text
    return f"{text[: most * 3 // 4]}…[{len(text):,} characters]…{text[-(most // 5) :]}"


class Guarded(io.TextIOWrapper):
    """An output stream that removes control sequences from everything written to it."""

    brief = False
    """Long messages are shortened."""

    def write(self, text: str) -> int:
        super().write(harmless(shortened(text) if self.brief else text))
        return len(text)

    def steer(self, codes: str) -> None:
        super().write(codes)


def guard(*, brief: bool = False) -> None:
    """Wrap stdout and stderr in `Guarded`; with `brief`, messages on stderr are shortened."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if type(stream) is io.TextIOWrapper:
            # A separate stream: the dashboard draws on the original one.
            binary = open(stream.fileno(), "wb", closefd=False)  # noqa: SIM115
            # A terminal that can't encode σ gets a question mark, not a traceback.
            guarded = Guarded(binary, stream.encoding, "replace", line_buffering=stream.line_buffering)
            guarded.brief = brief and name == "stderr"
            setattr(sys, name, guarded)


def steer(stream: TextIO, codes: str) -> None:
    """Write rsctl's own control sequences."""
    stream.steer(codes) if isinstance(stream, Guarded) else stream.write(codes)
