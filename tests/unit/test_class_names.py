"""One name, one class."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_no_class_name_occurs_twice() -> None:
    files = [file for room in ("rsctl", "jobs") for file in (ROOT / room).rglob("*.py")]
    names = Counter(name for file in files for name in re.findall(r"^class (\w+)", file.read_text(), re.M))
    assert [name for name, count in names.items() if count > 1] == []
