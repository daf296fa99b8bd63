"""Escapes of outside text for each format of a document."""

from __future__ import annotations

import json
import unicodedata
from importlib.resources import files
from typing import Any

from rsctl.plain import printable

NORMS = {"l1": r"$\ell_1$", "l2": r"$\ell_2$", "linf": r"$\ell_\infty$"}
"""Norms in LaTeX, which matplotlib reads too."""


def escape_markdown(text: str) -> str:
    """Text that Markdown shows as it is, also inside a table cell and at the beginning of a line."""
    text = printable(text)
    for special in "\\`*_|<>[]#~$&":
        text = text.replace(special, "\\" + special)
    # A list, a rule or a heading begins with one of these.
    return "\\" + text if text[:1] in ("-", "+", "=") else text


def escape_csv(value: Any) -> Any:
    """A cell that no spreadsheet runs as a formula and no terminal obeys; numbers and None pass."""
    if not isinstance(value, str):
        return value
    text = printable(value)
    return f"'{text}" if text.lstrip()[:1] in tuple("=+-@＝＋－＠") or value[:1] in tuple("\t\r\n") else text


_DATA = json.loads(files("rsctl.report").joinpath("latex_characters.json").read_text(encoding="utf-8"))
_LATEX: dict[str, str] = _DATA["characters"]
"""Characters that LaTeX prints by a command, in ASCII."""
_ACCENTS: dict[str, str] = _DATA["accents"]
"""Combining marks, and the commands that set them over or under a letter."""
CODE_POINT = "\\rsctlchar"
"""Command for a character that LaTeX's own fonts may lack: a document's font has it, or its number is printed."""


def escape_latex(text: str) -> str:
    """Text that LaTeX prints, in ASCII: accents as commands, letters of other scripts by their code points."""
    return "".join(_latex_character(c) for c in unicodedata.normalize("NFC", text))


def _latex_character(c: str) -> str:
    if c in _LATEX:
        return _LATEX[c]
    if not c.isprintable():
        return "?"
    if c.isascii():
        return c
    base, *marks = list(unicodedata.normalize("NFD", c))
    if base.isascii() and base.isalpha() and marks and all(mark in _ACCENTS for mark in marks):
        base = f"\\{base}" if base in "ij" and marks[0] not in "\u0323\u0327\u0331" else base
        for mark in marks:
            base = f"\\{_ACCENTS[mark]}{{{base}}}"
        return base
    plain = unicodedata.normalize("NFKC", c)
    return "".join(map(_latex_character, plain)) if plain != c else f"{CODE_POINT}{{{ord(c):04X}}}"


def latex_comment(text: str) -> str:
    """One line that LaTeX skips; nothing in it can end the comment."""
    return "% " + " ".join(printable(" ".join(text.split())).split())
