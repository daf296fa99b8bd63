"""Commands that run a module of rsctl in a process of its own."""

from __future__ import annotations

import sys
from pathlib import Path

_HOME = str(Path(__file__).parents[1])
_RUN = (
    "import sys; sys.path[:] = [*filter(None, sys.path), {home!r}]; import runpy; sys.argv.pop(0); "
    "runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)"
)


def module_command(module: str, *arguments: str) -> list[str]:
    """Run a module as `python -m` does, but import nothing from the current folder: a downloaded one may have a `socket.py`.

    Python 3.10 has no option for that.
    """
    return [sys.executable, "-c", _RUN.format(home=_HOME), module, *arguments]
