"""`rsctl serve` in a real Chromium: the dashboard appears, keys work, nothing is changed, and no other browser gets in."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from chain import wait_until
from dashboard_store import Synthetic
from PIL import Image

pytest.importorskip("textual_serve", reason="textual-serve, the extra 'serve', isn't installed")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright isn't installed")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PHONE, DESKTOP = (390, 844), (1280, 800)


@pytest.fixture
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("Chromium isn't installed")
    with playwright.sync_playwright() as drivers:
        chromium = drivers.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., tuple[subprocess.Popen[str], str]]]:
    started: list[subprocess.Popen[str]] = []

    def start(*options: str) -> tuple[subprocess.Popen[str], str]:
        command = [sys.executable, "-m", "rsctl", "serve", "--port", "0", *options]
        process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)  # fmt: skip
        started.append(process)
        assert process.stdout
        line = process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:\d+/\?token=\S+", line)
        assert found, line
        return process, found[0]

    yield start
    for process in started:
        process.kill()
        process.wait()


class Tab:
    """A page of a browser, with what its dashboard drew; the terminal itself is a picture."""

    def __init__(self, context: Any) -> None:
        self.drawn, self.requests, self.problems = b"", [], []
        self.page = context.new_page()
        self.page.on("websocket", self._listen)
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))

    def _listen(self, socket: Any) -> None:
        socket.on("framereceived", self._receive)

    def _receive(self, data: Any) -> None:
        self.drawn += data if isinstance(data, bytes) else b""

    @property
    def text(self) -> str:
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", " ", self.drawn.decode("utf-8", "replace"))

    def until(self, text: str) -> None:
        end = time.monotonic() + 60
        while text not in " ".join(self.text.split()):
            assert time.monotonic() < end, f"'{text}' was not drawn"
            self.page.wait_for_timeout(100)

    def press(self, key: str) -> None:
        self.drawn = b""
        self.page.keyboard.press(key)


def colours(file: Path) -> int:
    return len(Image.open(file).convert("RGB").getcolors(1 << 24) or ())


def dashboards(server: subprocess.Popen[str]) -> list[str]:
    return subprocess.run(["ps", "-o", "pid=", "--ppid", str(server.pid)], capture_output=True, text=True).stdout.split()  # fmt: skip


def test_the_dashboard_in_chromium(
    synthetic: Synthetic, browser: Any, serve: Callable[..., Any], tmp_path: Path
) -> None:
    server, address = serve()
    base = address.partition("?")[0]
    shots = tmp_path / "shots"
    before = {path: path.read_bytes() for path in (tmp_path / "runs").rglob("*") if path.is_file()}
    stranger, owner = (browser.new_context(viewport=dict(zip(("width", "height"), DESKTOP, strict=True))) for _ in "12")  # fmt: skip
    refused = stranger.new_page().goto(base)
    assert refused.status == 403
    tab = Tab(owner)
    tab.page.goto(address)
    tab.until("read-only")
    tab.until("finished")
    assert "token" not in tab.page.url
    for key in ("x", "e", "3"):
        tab.press(key)
        tab.until("it changes nothing")  # the lines are drawn in parts
    tab.press("2")
    tab.until("certificate as in")
    tab.press("Control+p")
    tab.until("Search for commands")
    tab.press("Escape")
    assert not tab.problems
    assert {url.removeprefix(base).partition("?")[0] for url in tab.requests if url.startswith(base)} >= {"", "page.js", "static/js/textual.js"}  # fmt: skip
    assert all(url.startswith((base, "data:")) for url in tab.requests)
    tab.page.screenshot(path=shots / "desktop.png")
    # The address is spent, for others and for the same browser after its cookies are gone.
    assert stranger.new_page().goto(address).status == 403
    phone = Tab(owner)
    phone.page.set_viewport_size(dict(zip(("width", "height"), PHONE, strict=True)))
    phone.page.goto(base)
    phone.until("finished")
    assert phone.page.evaluate("document.documentElement.scrollWidth") <= PHONE[0]
    phone.page.screenshot(path=shots / "phone.png")
    assert all(colours(shots / f"{name}.png") > 20 for name in ("desktop", "phone")), "nothing was drawn"
    assert len(dashboards(server)) == 2
    phone.page.close()
    wait_until(lambda: len(dashboards(server)) == 1)
    server.send_signal(signal.SIGINT)
    assert server.wait(30) == 0
    assert "Traceback" not in server.stdout.read()
    tab.page.wait_for_selector("text=The dashboard has ended")
    after = {path: path.read_bytes() for path in (tmp_path / "runs").rglob("*") if path.is_file()}
    assert before == after


@pytest.mark.long
def test_a_page_of_another_site_cannot_open_the_websocket_of_a_browser_with_the_cookie(
    synthetic: Synthetic, browser: Any, serve: Callable[..., Any]
) -> None:
    _, address = serve()
    base = address.partition("?")[0]
    context = browser.new_context()
    tab = Tab(context)
    tab.page.goto(address)
    tab.until("read-only")
    evil = context.new_page()
    evil.route("**/*", lambda route: route.fulfill(body="<html></html>", content_type="text/html") if "evil" in route.request.url else route.continue_())  # fmt: skip
    connect = f"""() => new Promise(done => {{
        const socket = new WebSocket("{base.replace("http", "ws")}ws");
        socket.onopen = () => done("open"); socket.onerror = () => done("refused");
    }})"""
    # A port of the same host is the same site, so that its pages send the cookie.
    for site in ("http://evil.example/", "http://127.0.0.1:1/evil"):
        evil.goto(site)
        assert evil.evaluate(connect) == "refused"
    assert tab.page.evaluate(connect) == "open"


@pytest.mark.long
def test_with_steer_tasks_can_be_cancelled_and_a_killed_server_leaves_no_process(
    synthetic: Synthetic, browser: Any, serve: Callable[..., Any]
) -> None:
    server, address = serve("--steer")
    tab = Tab(browser.new_context())
    tab.page.goto(address)
    tab.until("finished")
    assert "read-only" not in tab.text
    tab.press("X")
    tab.until("deleted")
    (dashboard,) = dashboards(server)
    server.kill()
    wait_until(lambda: not Path(f"/proc/{dashboard}").exists(), 10)
