"""`python -m rsctl`, and the console script."""

from __future__ import annotations

import os
import sys


def main() -> None:
    from rsctl.cli.app import run
    from rsctl.plain import guard

    guard(brief=True)
    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader of our output closed the pipe, as `head` does. The rest of the buffer is dropped silently.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


if __name__ == "__main__":
    main()
