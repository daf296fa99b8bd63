"""JSON output of the data plane for commands of the control plane."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

from rsctl.errors import UserError


def print_json(find: Callable[[], Any]) -> int:
    """Print the result as one JSON document, or the error on stderr; returns the exit code."""
    try:
        print(json.dumps(find()))
    except UserError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0
