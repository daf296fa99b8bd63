"""Names that become part of a path or a command line."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def check_name(name: str) -> str:
    """Return the name, or raise ValueError: letters, digits, `.`, `_`, `-`; starts with a letter or digit; at most 64."""
    if not _SAFE.fullmatch(name):
        raise ValueError("use 1 to 64 letters, digits, '.', '_' or '-', starting with a letter or digit")
    return name


SafeName = Annotated[str, AfterValidator(check_name)]
