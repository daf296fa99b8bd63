"""Who may connect to `rsctl serve`: attacks on its web server by hand-made requests."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from chain import Chain

pytest.importorskip("textual_serve", reason="textual-serve, the extra 'serve', isn't installed")

from aiohttp import ClientResponse, ClientSession, DummyCookieJar, WSServerHandshakeError
from aiohttp.test_utils import TestServer
from yarl import URL

from rsctl.serve.gate import LOOPBACK, Gate
from rsctl.serve.server import make_site

Site = tuple[ClientSession, str, Gate]
PAGES = ("/", "/ws", "/page.js", "/static/js/textual.js", "/static/", "/download/x", "/nothing")


def with_site(steps: Callable[[ClientSession, str, Gate], Awaitable[None]]) -> None:
    """Drive a server on a free port; its clients keep no cookies by themselves."""

    async def main() -> None:
        gate = Gate(LOOPBACK, 8000)
        server = TestServer(make_site(gate), host="127.0.0.1")
        await server.start_server()
        async with ClientSession(cookie_jar=DummyCookieJar()) as client:
            await steps(client, f"http://127.0.0.1:{server.port}", gate)
        await server.close()

    asyncio.run(main())


async def get(client: ClientSession, url: str, **headers: str) -> tuple[int, str]:
    async with client.get(URL(url, encoded=True), headers=headers) as answer:
        return answer.status, (await answer.read()).decode("utf-8", "replace")


async def cookie_of(client: ClientSession, base: str, gate: Gate) -> str:
    """The Cookie header of the browser that presents the token."""
    async with client.get(f"{base}/?token={gate.token}") as answer:
        assert answer.status == 200
        return answer.headers["Set-Cookie"].partition(";")[0]


async def socket(client: ClientSession, base: str, **headers: str) -> int:
    """The status of an attempt to open the WebSocket; 101 opens it."""
    try:
        async with client.ws_connect(f"{base}/ws", headers=headers):
            return 101
    except WSServerHandshakeError as error:
        return error.status


def test_nothing_is_served_without_the_cookie() -> None:
    async def steps(client: ClientSession, base: str, gate: Gate) -> None:
        for page in PAGES:
            for query in (
                "",
                "?token=",
                "?token=wrong",
                f"?token={gate.token[:-1]}",
                "?token=%ff%F0%9F%98%80",
            ):
                status, text = await get(client, base + page + query)
                assert (status, text.partition(":")[0]) == (403, "Refused"), page
                assert gate.token not in text
        # The token opens the first page alone.
        assert (await get(client, f"{base}/page.js?token={gate.token}"))[0] == 403
        assert await socket(client, base, Origin=base) == 403
        for cookie in ("rsctl-8000=", f"rsctl-8000={gate.token}", "rsctl-8000=None", "other=x"):
            assert (await get(client, base, Cookie=cookie))[0] == 403

    with_site(steps)


def test_the_token_works_once() -> None:
    async def steps(client: ClientSession, base: str, gate: Gate) -> None:
        address = f"{base}/?token={gate.token}"
        # Previews of links in chats and the like don't spend it.
        for method in ("HEAD", "POST", "OPTIONS"):
            async with client.request(method, address) as answer:
                assert answer.status == 403
        answers: list[ClientResponse] = await asyncio.gather(*(client.get(address) for _ in range(5)))
        assert sorted(answer.status for answer in answers) == [200, 403, 403, 403, 403]
        (first,) = (answer for answer in answers if answer.status == 200)
        given = first.headers["Set-Cookie"]
        assert "HttpOnly" in given
        assert "SameSite=Strict" in given
        assert gate.token not in given
        status, text = await get(client, address)
        assert status == 403
        assert "used already" in text
        # The browser that has the cookie may open the address again.
        status, text = await get(client, address, Cookie=given.partition(";")[0])
        assert status == 200
        assert 'id="terminal"' in text

    with_site(steps)


def test_a_page_of_another_site_reaches_nothing_though_the_browser_has_the_cookie() -> None:
    async def steps(client: ClientSession, base: str, gate: Gate) -> None:
        cookie = await cookie_of(client, base, gate)
        port = URL(base).port
        for host in ("localhost:9000", "[::1]", "127.0.0.1", "192.168.1.2:8000", "LOCALHOST"):
            assert (await get(client, base, Cookie=cookie, Host=host))[0] == 200, host
        for host in (
            "evil.example",
            f"evil.example:{port}",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "[",
            "[::1",
            "",
            "1.2.3.4.5",
            "<script>@127.0.0.1",
            '127.0.0.1:"><script>',
            "127.0.0.1/;script-src *",
        ):
            for headers in ({"Cookie": cookie}, {}):
                status, text = await get(client, base, Host=host, **headers)
                assert status in (400, 403), host
                assert status == 400 or "another host name" in text
        assert (
            await socket(client, base, Cookie=cookie, Host="evil.example", Origin="http://evil.example")
            == 403
        )
        for origin in (
            "http://evil.example",
            "null",
            "",
            f"http://127.0.0.1:{port}1",
            f"http://localhost:{port}",
            f"http://127.0.0.1.evil.example:{port}",
            f"file://127.0.0.1:{port}",
        ):
            assert (await get(client, base, Cookie=cookie, Origin=origin))[0] == 403, origin
            assert await socket(client, base, Cookie=cookie, Origin=origin) == 403, origin
        assert await socket(client, base, Cookie=cookie) == 403, "without Origin"
        # SSH forwards another port, and a proxy may add TLS.
        for origin in ("http://localhost:9000", "https://localhost:9000"):
            assert (await get(client, base, Cookie=cookie, Host="localhost:9000", Origin=origin))[0] == 200

    with_site(steps)


def test_only_the_files_of_the_page_are_served() -> None:
    async def steps(client: ClientSession, base: str, gate: Gate) -> None:
        cookie = await cookie_of(client, base, gate)
        for page in ("/page.css", "/page.js", "/static/js/textual.js", "/static/css/xterm.css"):
            assert (await get(client, base + page, Cookie=cookie))[0] == 200
        for path in (
            "/static/", "/static/js/", "/static/../server.py", "/static/%2e%2e/server.py", "/static/..%2fserver.py", "/static//etc/passwd",
            "/static/%2fetc/passwd", "/static/..\\server.py", "/static/js/../../server.py", "/static/%00", "/../gate.py", "/gate.py", "/page.html",
            "/static/js/textual.js/..", "/download/x", "//etc/passwd",
        ):  # fmt: skip
            status, text = await get(client, base + path, Cookie=cookie)
            assert status in (403, 404), (path, status)
            assert "import" not in text
            assert "root:" not in text

    with_site(steps)


def test_the_page_keeps_to_itself_and_loads_nothing_from_elsewhere() -> None:
    async def steps(client: ClientSession, base: str, gate: Gate) -> None:
        cookie = await cookie_of(client, base, gate)
        async with client.get(base, headers={"Cookie": cookie}) as answer:
            text, headers = await answer.text(), answer.headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "script-src 'self';" in policy
        assert headers["Referrer-Policy"] == "no-referrer"
        assert "https:" not in text
        assert f'"ws://127.0.0.1:{URL(base).port}/ws"' in text
        async with client.get(base) as refused:
            assert refused.headers["X-Content-Type-Options"] == "nosniff"

    with_site(steps)


def test_without_the_extra_the_command_names_it(chain: Chain) -> None:
    (chain.folder / "textual_serve.py").write_text("raise ImportError('absent')\n")
    done = chain.cli("serve", PYTHONPATH=str(chain.folder))
    assert done.code == 3
    assert "pip install 'rsctl[serve]'" in done.err


@pytest.mark.parametrize(
    ("options", "reason"),
    [(["--host", "192.0.2.1"], "no such address"), (["--host", "no.such.host.invalid"], "can't listen at no.such.host.invalid")],
)  # fmt: skip
def test_an_address_that_does_not_work_is_explained(chain: Chain, options: list[str], reason: str) -> None:
    done = chain.cli("serve", *options)
    assert (done.code, done.out) == (3, "")
    assert reason in done.err


def test_a_port_in_use_is_explained(chain: Chain) -> None:
    from rsctl.serve.server import listen

    with listen("127.0.0.1", 0) as taken:
        done = chain.cli("serve", "--port", str(taken.getsockname()[1]))
    assert done.code == 3
    assert "--port 0 for a free one" in done.err


def test_wrong_settings_are_reported_before_a_browser_connects(chain: Chain) -> None:
    (chain.folder / "rsctl.toml").write_text("stroe = 1\n")
    done = chain.cli("serve", "--port", "0")
    assert done.code == 2
    assert "stroe" in done.err
