"""Escapes of outside text for each format of a document."""

from __future__ import annotations

import unicodedata
from typing import Any

from rsctl.plain import printable


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


_LATEX = {
    "\\": "\\textbackslash{}", "&": "\\&", "%": "\\%", "$": "\\$", "#": "\\#", "_": "\\_", "{": "\\{", "}": "\\}",
    "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "<": "$<$", ">": "$>$", "|": "$|$", '"': "''", "`": "\\textasciigrave{}",
    "[": "{[}", "]": "{]}", "–": "--", "—": "---", "’": "'", "“": "``", "”": "''", "…": "\\ldots{}",
    "±": "$\\pm$", "×": "$\\times$", "·": "$\\cdot$", "≤": "$\\le$", "≥": "$\\ge$", "≠": "$\\ne$", "∞": "$\\infty$", "ℓ": "$\\ell$",
    "½": "$\\frac12$", "→": "$\\to$", "†": "\\dag{}",
    **{chr(code): f"$\\{name}$" for code, name in (
        (0x3B1, "alpha"), (0x3B2, "beta"), (0x3B3, "gamma"), (0x3B4, "delta"), (0x3B5, "varepsilon"), (0x3B7, "eta"),
        (0x3B8, "theta"), (0x3BA, "kappa"), (0x3BB, "lambda"), (0x3BC, "mu"), (0x3BD, "nu"), (0x3BE, "xi"), (0x3C0, "pi"),
        (0x3C1, "rho"), (0x3C3, "sigma"), (0x3C4, "tau"), (0x3C6, "varphi"), (0x3C7, "chi"), (0x3C8, "psi"), (0x3C9, "omega"),
        (0x393, "Gamma"), (0x394, "Delta"), (0x3A3, "Sigma"), (0x3A6, "Phi"), (0x3A8, "Psi"), (0x3A9, "Omega"))},
}  # fmt: skip


_LATEX |= {
    "ß": "\\ss{}", "ø": "\\o{}", "Ø": "\\O{}", "å": "\\aa{}", "Å": "\\AA{}", "æ": "\\ae{}", "Æ": "\\AE{}", "œ": "\\oe{}",
    "Œ": "\\OE{}", "ł": "\\l{}", "Ł": "\\L{}", "ı": "\\i{}",
}  # fmt: skip
_ACCENTS = dict(
    zip(
        "\u0300\u0301\u0302\u0303\u0304\u0306\u0307\u0308\u030a\u030b\u030c\u0323\u0327\u0331",
        "`'^~=u.\"rHvdcb",
        strict=True,
    )
)
"""Combining marks, and the commands that set them over or under a letter."""
CODE_POINT = "\\rsctlchar"
"""Command for a character that LaTeX's own fonts may lack: a document's font has it, or its number is printed."""


def escape_latex(text: str) -> str:
    """Text that LaTeX prints, in ASCII: accents as commands, letters of other scripts by their code points."""
    return "".join(_latex_character(c) for c in unicodedata.normalize("NFC", text))


def _latex_character(c: str) -> str:
    if c in _LATEX:
        return _LATEX[c]
    if c.isascii():
        return c if c.isprintable() else "?"
    if not c.isprintable():
        return "?"
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
