"""Reads TOML files that people wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tomli

from rsctl.errors import InputError
from rsctl.regular import read_regular

MOST_BYTES = 2 << 20
"""Most bytes of a TOML file: a hundred times the size of a long sweep file."""


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file as a dict; every failure raises an InputError that names the file."""
    try:
        values = tomli.loads(read_regular(path, MOST_BYTES).decode("utf-8-sig"))
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file.") from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: can't be read: it is not UTF-8 text ({error.reason}). Save it as UTF-8."
        ) from error
    except OSError as error:
        raise InputError(f"{path}: can't be read: {error}.") from error
    except (tomli.TOMLDecodeError, RecursionError) as error:
        raise InputError(f"{path}: is not valid TOML: {error}.") from error
    except ValueError as error:  # Python's own, of a number with thousands of digits
        raise InputError(f"{path}: is not valid TOML: an integer has more than 64 bits.") from error
    if (key := _too_large(values)) is not None:
        raise InputError(f"{path}: {key}: is not valid TOML: an integer has at most 64 bits.")
    return values


def _too_large(value: Any) -> str | None:
    """The dotted key of an integer that exceeds TOML's 64 bits; None where there is none."""
    if isinstance(value, int):
        return None if -(2**63) <= value < 2**63 else ""
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in parts:
        if (below := _too_large(part)) is not None:
            return f"{key}.{below}".rstrip(".")
    return None
