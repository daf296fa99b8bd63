"""The web server: each connection is a dashboard in a process of its own, run by textual-serve."""

from __future__ import annotations

import asyncio
import errno
import logging
import shlex
import socket
from collections.abc import Callable
from pathlib import Path
from string import Template
from typing import Any, cast

import textual_serve
from aiohttp import web
from textual_serve.server import Server

from rsctl.errors import UnavailableError
from rsctl.modules import module_command
from rsctl.serve.gate import LOOPBACK, Gate, Handler, protect

_OWN = Path(__file__).parent
_STATIC = Path(textual_serve.__file__).parent / "static"
_LEAVE = 3
"""Seconds that open dashboards get to end when the server does."""


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens at this address; port 0 takes a free one.

    Raises
    ------
    UnavailableError
        The port is taken, or this machine doesn't have the address.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family)
    except OSError as error:
        reason = {
            errno.EADDRINUSE: "the port is in use. Choose another one with --port, or --port 0 for a free one",
            errno.EACCES: "ports below 1024 are reserved for root. Choose another one with --port",
            errno.EADDRNOTAVAIL: "this machine has no such address. --host takes one of its own, or a name of it",
        }.get(error.errno or 0, f"{error.strerror or error}")
        raise UnavailableError(f"can't listen at {host} port {port}: {reason}.") from error


def serve(listening: socket.socket, host: str, started: Callable[[str], object]) -> None:
    """Serve dashboards until Ctrl+C or SIGTERM; `started` receives the address to open first, with its token."""
    address, port = listening.getsockname()[:2]
    names = {*LOOPBACK, host}
    if not is_loopback(address):
        names |= {socket.gethostname(), socket.getfqdn()}
    gate = Gate(names, port)
    # By address: another user's server may have the same port of the other protocol's `localhost`.
    shown = host if host not in ("", "0.0.0.0", "::", "localhost") else address
    if address in ("0.0.0.0", "::"):
        shown = socket.gethostname()
    shown = f"[{shown}]" if ":" in shown else shown
    for name in ("textual-serve", "aiohttp.server"):
        logging.getLogger(name).addFilter(_without_traceback)
    started(f"http://{shown}:{port}/?token={gate.token}")
    web.run_app(make_site(gate), sock=listening, print=None, access_log=None, shutdown_timeout=_LEAVE)


def make_site(gate: Gate) -> web.Application:
    """The pages: the terminal, its WebSocket and the files that it needs; nothing is loaded from elsewhere."""
    # `exec`, so that the dashboard and not a shell is the process that its server ends.
    dashboards = Server(f"exec {shlex.join(module_command('rsctl.tui'))}", title="rsctl")
    page = Template((_OWN / "page.html").read_text(encoding="utf-8"))

    async def index(request: web.Request) -> web.Response:
        scheme = "wss" if request.headers.get("Origin", "").startswith("https:") else "ws"
        text = page.substitute(socket=f"{scheme}://{request.host}/ws")
        return web.Response(text=text, content_type="text/html")

    connected: set[asyncio.Task[Any]] = set()

    async def dashboard(request: web.Request) -> web.WebSocketResponse:
        task = cast("asyncio.Task[Any]", asyncio.current_task())
        connected.add(task)
        try:
            return await dashboards.handle_websocket(request)
        finally:
            connected.discard(task)

    async def end_dashboards(_: web.Application) -> None:
        for task in connected:
            task.cancel()

    def own(name: str) -> Handler:
        async def file(_: web.Request) -> web.FileResponse:
            return web.FileResponse(_OWN / name)

        return file

    site = web.Application(middlewares=[gate.middleware])
    site.on_response_prepare.append(protect)
    site.on_shutdown.append(end_dashboards)
    site.add_routes(
        [
            web.get("/", index),
            web.get("/ws", dashboard),
            *(web.get(f"/{name}", own(name)) for name in ("page.css", "page.js")),
            web.static("/static", _STATIC),
        ]
    )
    return site


def is_loopback(address: str) -> bool:
    """Return whether only this machine can connect to an address."""
    return address == "::1" or address.startswith("127.")


def _without_traceback(record: logging.LogRecord) -> bool:
    """Errors of a connection are one line on the terminal of the server."""
    record.msg, record.args = f"rsctl serve: a connection ended: {record.getMessage()}", ()
    record.exc_info = record.exc_text = None
    return True
