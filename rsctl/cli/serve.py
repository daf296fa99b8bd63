"""The command that serves the dashboard to a browser."""

from __future__ import annotations

import os
import socket
import sys
from typing import Annotated

import typer

from rsctl.errors import UnavailableError


def serve(
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port; 0 takes a free one.")] = 8000,
    host: Annotated[
        str,
        typer.Option(
            "--host",
            help="Address to listen at, such as 0.0.0.0 for the network; by default this machine alone can connect.",
        ),
    ] = "127.0.0.1",
    steer: Annotated[
        bool,
        typer.Option(
            "--steer", help="Allow everything the dashboard does: submit, cancel, retry, delete, write files."
        ),
    ] = False,
) -> None:
    """Show the dashboard in a browser: read-only, on this machine, for whoever opens the printed address first."""
    from rsctl.config.settings import load_settings
    from rsctl.tui.read_only import VARIABLE

    try:
        from rsctl.serve.server import is_loopback, listen
        from rsctl.serve.server import serve as serve_until_ended
    except ImportError as error:
        raise UnavailableError(
            "serve: needs textual-serve, which is not installed: pip install 'rsctl[serve]'."
        ) from error
    load_settings()  # what is wrong with rsctl.toml is reported here rather than in the browser
    if steer:
        os.environ.pop(VARIABLE, None)
    else:
        os.environ[VARIABLE] = "1"
    listening = listen(host, port)

    def started(address: str) -> None:
        print(f"The dashboard, {'which can change runs' if steer else 'read-only'}: {address}")
        print(
            "The address works once, for one browser. Ctrl+C ends the server; tasks keep running.", flush=True
        )

    here = listening.getsockname()
    if not is_loopback(here[0]):
        print(
            "warning: the connection is not encrypted: who can read this network's traffic can take it over. Over SSH: "
            f"rsctl serve here, and ssh -N -L {here[1]}:127.0.0.1:{here[1]} {socket.gethostname()} on the other machine.",
            file=sys.stderr,
        )
    serve_until_ended(listening, host, started)
