"""Tables and notes at the width of a terminal."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

from chain import Chain, tiny

from rsctl.report.tables.terminal import fitted

TABLE = """\
# digits

Certified accuracy (%) and the average certified radius.

| Method   | σ    | 0    | 0.25 | 2/255 | ACR   | Clean | At cap |
|----------|------|------|------|-------|-------|-------|--------|
| gaussian | 0.25 | 97.7 | 92.2 | 59.7  | 0.487 | 98.6  | 24.5   |
| stab\\|ly | 0.5  | 90.5 | 74.1 | 37.2  | 0.408 | 94.4  | 0.0    |

Note: a sentence that is longer than the terminal is wide.
"""


def cells(text: str) -> list[list[str]]:
    return [
        [c.strip() for c in line.strip("|").split(" | ")] for line in text.splitlines() if line[:2] == "| "
    ]


def test_a_table_that_fits_stays_as_it_is() -> None:
    assert fitted(TABLE, 80) == TABLE


def test_a_table_that_is_too_wide_goes_on_below_with_the_names_of_its_lines() -> None:
    shown = fitted(TABLE, 45)
    assert max(map(len, shown.splitlines())) <= 45
    assert cells(shown) == [
        ["Method", "σ", "0", "0.25", "2/255"],
        ["gaussian", "0.25", "97.7", "92.2", "59.7"],
        ["stab\\|ly", "0.5", "90.5", "74.1", "37.2"],
        ["Method", "σ", "ACR", "Clean", "At cap"],
        ["gaussian", "0.25", "0.487", "98.6", "24.5"],
        ["stab\\|ly", "0.5", "0.408", "94.4", "0.0"],
    ]
    assert " ".join(shown.split()).endswith("Note: a sentence that is longer than the terminal is wide.")


def test_every_column_is_shown_at_any_width() -> None:
    for width in (1, 10, 25, 30, 60):
        heads = [head for line in cells(fitted(TABLE, width)) if line[0] == "Method" for head in line]
        assert [head for head in heads if head not in ("Method", "σ")] == [
            "0",
            "0.25",
            "2/255",
            "ACR",
            "Clean",
            "At cap",
        ]


def test_export_fits_the_terminal_and_leaves_a_pipe_alone(chain: Chain) -> None:
    chain.run_all(tiny())
    command = [sys.executable, "-m", "rsctl", "export", "tiny"]
    piped = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert max(map(len, piped.splitlines())) > 60
    ours, theirs = pty.openpty()
    with subprocess.Popen(command, stdout=theirs, env={**os.environ, "COLUMNS": "60"}) as process:
        os.close(theirs)
        said = b""
        while True:
            try:
                part = os.read(ours, 4096)
            except OSError:  # the other end is closed
                break
            said += part
            if not part:
                break
    os.close(ours)
    assert process.returncode == 0
    shown = said.decode().replace("\r\n", "\n")
    assert max(map(len, shown.splitlines())) <= 60
    assert shown.count("| Method") > piped.count("| Method")

    def words(text: str) -> set[str]:
        return {word for word in text.split() if not word.startswith("|-")}

    assert words(shown) == words(piped)
