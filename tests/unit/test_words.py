"""Counts and durations as a person reads them."""

from __future__ import annotations

import pytest

from rsctl.text import counted, duration, nth, per_second


def test_one_is_singular_and_thousands_are_set_apart() -> None:
    assert [counted(n, "image") for n in (0, 1, 2, 10_000)] == [
        "0 images",
        "1 image",
        "2 images",
        "10,000 images",
    ]
    assert (counted(1, "class", "classes"), counted(3, "class", "classes")) == ("1 class", "3 classes")


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0, "0 s"), (0.02, "1 s"), (1.44, "1 s"), (8.2, "8 s"), (89, "89 s"), (90, "2 min"), (5399, "90 min"),
     (5400, "1 h 30"), (7 * 3600 + 65, "7 h 01"), (48 * 3600, "2 d 00 h"), (900 * 3600, "37 d 12 h")],
)  # fmt: skip
def test_a_duration_has_no_digits_that_nobody_reads(seconds: float, told: str) -> None:
    assert duration(seconds) == told


def test_a_rate_has_no_exponent() -> None:
    assert [per_second(rate) for rate in (0.0278, 19.96, 12_345.6)] == ["0.028/s", "20/s", "12,346/s"]
    assert per_second(20.0, "images") == "20 images/s"


def test_an_ordinal_has_its_own_ending() -> None:
    assert [nth(n) for n in (1, 2, 3, 4, 11, 12, 13, 20, 21, 102, 113)] == [
        "1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "20th", "21st", "102nd", "113th",
    ]  # fmt: skip
