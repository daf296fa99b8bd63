"""`python -m rsctl`, and the console script."""

from __future__ import annotations

import io
import sys


def main() -> None:
    from rsctl.cli import run

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that knows no sigma gets a question mark, not a traceback.
            stream.reconfigure(errors="replace")
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
