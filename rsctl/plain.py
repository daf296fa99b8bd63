"""Text from files, logs and other people on its way to a terminal: what a terminal would obey is taken out."""

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
    """Without anything that steers a terminal or hides itself: each such character becomes �, each odd space a space."""
    return text if text.isprintable() else "".join(c if c.isprintable() else _shown(c) for c in text)


def _shown(character: str) -> str:
    return " " if unicodedata.category(character) == "Zs" else "�"


def plain(text: str, longest: int = LONGEST) -> str:
    """One line without escape sequences; of what carriage returns overwrote only the last remains (as in a terminal)."""
    text = text.rstrip("\r").rpartition("\r")[2][: 64 * longest]
    text = _ESCAPES.sub("", text).expandtabs(4)
    return printable(text if len(text) <= longest else text[: longest - 1] + "…")


def plain_lines(text: str, longest: int = LONGEST) -> list[str]:
    """Every line of a text, harmless."""
    return [plain(line, longest) for line in text.split("\n")]


def harmless(text: str) -> str:
    """The whole text, lines and tabs as they are, without anything else that steers a terminal."""
    return "\n".join(line if line.isprintable() else _harmless_line(line) for line in text.split("\n"))


def _harmless_line(line: str) -> str:
    return "\t".join(map(printable, _ESCAPES.sub("", line.removesuffix("\r")).split("\t")))


def shortened(text: str) -> str:
    """A message without what nobody reads: of long values, lines and lists the two ends, and how long they are."""
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
    """An output whose text can't steer the terminal that it may reach, whoever wrote it."""

    brief = False
    """Long messages are shortened."""

    def write(self, text: str) -> int:
        super().write(harmless(shortened(text) if self.brief else text))
        return len(text)

    def steer(self, codes: str) -> None:
        super().write(codes)


def guard(*, brief: bool = False) -> None:
    """Send all text of this process to its outputs through `Guarded`; with `brief`, what is said on stderr is shortened."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if type(stream) is io.TextIOWrapper:
            # A stream of its own: the dashboard draws on the one that was there before.
            binary = open(stream.fileno(), "wb", closefd=False)  # noqa: SIM115
            # A terminal that knows no sigma gets a question mark, not a traceback.
            guarded = Guarded(binary, stream.encoding, "replace", line_buffering=stream.line_buffering)
            guarded.brief = brief and name == "stderr"
            setattr(sys, name, guarded)


def steer(stream: TextIO, codes: str) -> None:
    """Write control sequences of rsctl's own."""
    stream.steer(codes) if isinstance(stream, Guarded) else stream.write(codes)
