"""Admission to the web server: a token that works once, a cookie afterwards, and checks of the Host and Origin headers."""

from __future__ import annotations

import contextlib
import hmac
import ipaddress
import re
import secrets
from collections.abc import Awaitable, Callable, Iterable
from urllib.parse import urlsplit

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_HOST = re.compile(r"[\w.:%\[\]-]+")
LOOPBACK = ("localhost", "127.0.0.1", "::1")
_PASSED = """<!doctype html><html lang="en"><meta charset="utf-8"><meta http-equiv="refresh" content="0;url=/">
<title>rsctl</title><a href="/">Open the dashboard</a></html>"""
"""A redirect would not do: after a link from another site, browsers withhold a SameSite=Strict cookie until a page of this
site navigates by itself."""
_NO_COOKIE = "Refused: this browser has no cookie of this server. Open the address that 'rsctl serve' printed; it works once."
_SPENT = (
    "Refused: this address was used already, and it works once. End 'rsctl serve' and start it again for a new one; "
    "if you did not open it yourself, somebody else has."
)


class Gate:
    """Admits the first browser that presents the token, and from then on only that one.

    `names` are the host names that requests may be addressed to; IP addresses always may, as a web page of somebody else
    can reach this server by a name of its own (DNS rebinding), but not by an address.
    """

    def __init__(self, names: Iterable[str], port: int) -> None:
        self.token = secrets.token_urlsafe(24)
        self._spent = False
        self._secret = secrets.token_urlsafe(32)
        # Cookies don't know ports: two servers on one host need two names.
        self._cookie = f"rsctl-{port}"
        self._names = frozenset(name.lower() for name in names)

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse a request with 403 and a sentence, or pass it on."""
        if not self._addressed_to_us(request.host):
            return _refusal("Refused: the request is addressed to another host name than this server's.")
        if not _from_our_page(request):
            return _refusal("Refused: the request comes from a page of another site.")
        if _equal(request.cookies.get(self._cookie, ""), self._secret):
            return await handler(request)
        given = request.query.get("token", "") if request.path == "/" and request.method == "GET" else ""
        if not _equal(given, self.token):
            return _refusal(_NO_COOKIE)
        if self._spent:
            return _refusal(_SPENT)
        self._spent = True
        response = web.Response(text=_PASSED, content_type="text/html")
        response.set_cookie(self._cookie, self._secret, httponly=True, samesite="Strict", path="/")
        return response

    def _addressed_to_us(self, host: str) -> bool:
        # The page and its headers repeat it.
        if not _HOST.fullmatch(host):
            return False
        # The port isn't compared: SSH forwards another one.
        with contextlib.suppress(ValueError):
            name = urlsplit(f"//{host}").hostname or ""
            if name in self._names:
                return True
            ipaddress.ip_address(name)
            return True
        return False


async def protect(request: web.Request, response: web.StreamResponse) -> None:
    """Set the headers that keep the page to itself; for aiohttp's `on_response_prepare`."""
    response.headers.update(
        {
            "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
            f"font-src 'self'; img-src 'self' data:; connect-src 'self' ws://{request.host} wss://{request.host}; "
            "frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
            "Cache-Control": "no-store",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        }
    )


def _from_our_page(request: web.Request) -> bool:
    """Browsers send Origin with every WebSocket, to which other sites' pages may connect; other clients must send it, too."""
    origin = request.headers.get("Origin")
    if origin is None:
        return "Upgrade" not in request.headers
    return origin.lower() in (f"http://{request.host}".lower(), f"https://{request.host}".lower())


def _equal(given: str, secret: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), secret.encode())


def _refusal(text: str) -> web.Response:
    return web.Response(status=403, text=f"{text}\n")
