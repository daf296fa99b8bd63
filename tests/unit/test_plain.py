"""Text from files can't change the screen."""

from __future__ import annotations

import pytest

from rsctl.plain import LONGEST, plain


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07after", "after"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bPq#0\x1b\\x", "x"),
        ("10%\r20%\r30%\r", "30%"),
        ("a\tb", "a   b"),
        ("bell\x07 and \x9b31m", "bell� and �31m"),
        ("right\u202eleft", "right�left"),
        ("[bold]not markup[/bold]", "[bold]not markup[/bold]"),
    ],
)
def test_escape_sequences_and_controls_are_taken_out(raw: str, shown: str) -> None:
    assert plain(raw) == shown


def test_long_lines_are_cut() -> None:
    assert len(plain("x" * 10_000_000)) == LONGEST
