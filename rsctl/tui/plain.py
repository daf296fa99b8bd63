"""Text from files and logs, made harmless: what a terminal would obey is taken out, the rest shown as it is."""

from __future__ import annotations

import re

# CSI, OSC and the other string sequences (ended by BEL or ST), then the two-character ones.
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~])")
LONGEST = 2000


def plain(text: str, longest: int = LONGEST) -> str:
    """One line without escape sequences; of what carriage returns overwrote only the last remains (as in a terminal)."""
    text = text.rstrip("\r").rpartition("\r")[2][: 64 * longest]
    text = _ESCAPES.sub("", text).expandtabs(4)
    if len(text) > longest:
        text = text[: longest - 1] + "…"
    return text if text.isprintable() else "".join(c if c.isprintable() else "�" for c in text)


def plain_lines(text: str, longest: int = LONGEST) -> list[str]:
    """Every line of a text, harmless."""
    return [plain(line, longest) for line in text.split("\n")]
