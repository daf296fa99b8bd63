"""The HTML report in a real Chromium, at the width of a phone and of a desktop; skipped where Chromium or Playwright is absent."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from report_cases import make_store
from test_html_report import ATTACK

from rsctl.report.html.document import html_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PHONE, DESKTOP = (390, 844), (1280, 800)
PIXEL = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if not CHROMIUM:
        pytest.skip("Chromium isn't installed")
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright isn't installed")
    with playwright.sync_playwright() as run:
        started = run.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two methods at two noise levels, with a hostile description and pictures."""
    from rsctl.report.html import images

    root = tmp_path_factory.mktemp("page")
    store, _ = make_store(
        root, description=ATTACK, method=[{"name": "gaussian"}, {"name": "stability"}], grid={"sigma": [0.25, 0.5]},
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(images, "draw_pictures", lambda *given: (dict.fromkeys(given[2], PIXEL), ""))
        source, _ = html_report(store, "sweep", root / "data")
    file = root / "report.html"
    file.write_bytes(source)
    return file


class Opened:
    """The page in a tab; `problems` are its errors, its messages and its requests of anything else than itself."""

    def __init__(self, browser: Any, file: Path, size: tuple[int, int], scheme: str = "light") -> None:
        self.context = browser.new_context(
            viewport={"width": size[0], "height": size[1]}, color_scheme=scheme
        )
        self.page = self.context.new_page()
        self.problems: list[str] = []
        self.page.on("console", lambda message: self.problems.append(message.text))
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("request", self._requested)
        self.page.goto(file.as_uri())

    def _requested(self, request: Any) -> None:
        if not request.url.startswith(("file:", "data:")) or request.url.count("report.html") > 1:
            self.problems.append(request.url)


@pytest.fixture
def open_page(browser: Any, page_file: Path) -> Iterator[Any]:
    opened: list[Opened] = []

    def start(size: tuple[int, int], scheme: str = "light") -> Opened:
        opened.append(Opened(browser, page_file, size, scheme))
        return opened[-1]

    yield start
    for one in opened:
        assert one.problems == []
        one.context.close()


@pytest.mark.parametrize("size", [PHONE, DESKTOP])
def test_it_opens_without_errors_or_sideways_scrolling(open_page: Any, size: tuple[int, int]) -> None:
    page = open_page(size).page
    assert page.evaluate("window.hacked") is None
    assert page.evaluate("document.documentElement.scrollWidth") == size[0]
    assert page.locator("h1").inner_text() == "sweep"
    assert page.locator("text=window.hacked").first.is_visible()
    plot = page.locator("#curve-1 .plot").bounding_box()
    assert plot["width"] > 0.85 * min(size[0], 736)
    smallest = page.evaluate(
        "Math.min(...[...document.querySelectorAll('.plot text')].map(e => e.getBoundingClientRect().height))"
    )
    assert smallest > 9


def test_injected_scripts_and_requests_are_blocked(browser: Any, page_file: Path) -> None:
    opened = Opened(browser, page_file, DESKTOP)
    opened.page.evaluate(
        "document.body.insertAdjacentHTML('beforeend', '<img src=\"https://example.org/x.png\" onerror=\"window.hacked = 1\">')"
    )
    opened.page.wait_for_function("document.body.lastElementChild.complete")
    assert opened.page.evaluate("window.hacked") is None
    assert any("Content Security Policy" in one for one in opened.problems)
    opened.context.close()


def test_columns_are_sorted_by_keyboard(open_page: Any) -> None:
    page = open_page(DESKTOP).page
    head = page.locator("#tables table").first.locator("thead th", has_text=re.compile(r"^0\.25"))
    column = head.evaluate("e => e.cellIndex")

    def shown() -> list[float]:
        cells = page.locator("#tables table").first.locator("tbody tr")
        return [float(cells.nth(i).locator("td, th").nth(column).locator("span").inner_text()) for i in range(cells.count())]  # fmt: skip

    before = shown()
    head.locator("button").focus()
    page.keyboard.press("Enter")
    assert shown() == sorted(before, reverse=True)
    assert head.get_attribute("aria-sort") == "descending"
    page.keyboard.press("Enter")
    assert shown() == sorted(before)


def test_the_chart_reads_values_and_hides_lines(open_page: Any) -> None:
    page = open_page(DESKTOP).page
    figure = page.locator("#curve-1")
    values = figure.locator(".legend .value")
    assert set(values.all_inner_texts()) == {""}
    figure.locator(".plot").focus()
    page.keyboard.press("Home")
    first = values.all_inner_texts()
    table = page.locator("#tables table").first.locator("tbody tr")
    at_zero = page.locator("#tables table").first.locator("thead th").all_inner_texts().index("0")
    assert [one.split(" [")[0] for one in first] == [
        table.nth(i).locator("td, th").nth(at_zero).locator("span").inner_text() for i in range(len(first))
    ]
    assert re.search(r"radius 0$", figure.locator(".readout").inner_text())
    page.keyboard.press("ArrowRight")
    assert re.search(r"radius 0\.0", figure.locator(".readout").inner_text())
    page.keyboard.press("End")
    at_end = values.all_inner_texts()
    assert [one.split(" [")[0] for one in at_end] == ["0.0"] * 4
    page.keyboard.press("Escape")
    figure.locator(".plot").hover(position={"x": 200, "y": 60})
    assert all(values.all_inner_texts())
    button = figure.locator(".legend button").first
    button.focus()
    page.keyboard.press("Space")
    assert button.get_attribute("aria-pressed") == "false"
    assert not figure.locator('g[data-line="0"]').is_visible()
    assert figure.locator('g[data-line="1"]').is_visible()


@pytest.mark.parametrize("size", [PHONE, DESKTOP])
def test_images_are_chosen_sorted_and_opened(open_page: Any, size: tuple[int, int]) -> None:
    page = open_page(size).page
    browser, cards = page.locator("#browser"), page.locator(".card")
    assert cards.count() == 48
    assert cards.first.locator("img").evaluate("e => e.naturalWidth") == 1
    browser.get_by_label("Sort by").select_option("most")
    radii = [float(re.findall(r"r = ([\d.]+)", text)[0]) for text in cards.all_inner_texts()]
    assert radii == sorted(radii, reverse=True)
    browser.get_by_label("Show").select_option("wrong")
    assert all("✗ wrong" in text for text in cards.all_inner_texts())
    cards.first.focus()
    page.keyboard.press("Enter")
    detail = page.locator(".detail")
    assert detail.evaluate("e => e === document.activeElement")
    assert detail.locator("tbody tr").count() == 4
    assert sum(int(text.replace(",", "")) for text in detail.locator(".bar span:last-child").all_inner_texts()) == 1000  # fmt: skip
    page.keyboard.press("Escape")
    assert detail.count() == 0
    assert cards.first.evaluate("e => e === document.activeElement")


def test_every_control_has_a_name(open_page: Any) -> None:
    page = open_page(DESKTOP).page
    nameless = page.evaluate(
        """[...document.querySelectorAll('button, a, select, summary, svg[role=img], [role=region]')].filter(e =>
           !(e.textContent.trim() || e.getAttribute('aria-label') || (e.labels && e.labels.length))).map(e => e.outerHTML)"""
    )
    assert nameless == []
    assert page.evaluate("document.querySelectorAll('[id]').length === new Set([...document.querySelectorAll('[id]')].map(e => e.id)).size")  # fmt: skip
    assert page.evaluate("document.documentElement.lang") == "en"


def test_the_choice_of_what_is_under_a_number(open_page: Any) -> None:
    page = open_page(DESKTOP).page
    small = page.locator("#tables td small").first
    assert small.is_visible()
    page.get_by_label("Under each number").select_option("none")
    assert not small.is_visible()


def test_it_prints_without_controls(open_page: Any) -> None:
    page = open_page(DESKTOP).page
    page.emulate_media(media="print")
    for hidden in ("nav", ".controls", ".downloads"):
        assert not page.locator(hidden).first.is_visible()
    assert page.locator("table").first.is_visible()
    assert page.pdf(format="A4")[:5] == b"%PDF-"


# ---------------------------------------------------------------- contrast, without a browser


def luminance(colour: str) -> float:
    """Relative luminance by WCAG 2.2."""
    digits = colour.lstrip("#")
    digits = "".join(2 * c for c in digits) if len(digits) == 3 else digits
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: str, b: str) -> float:
    light, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", [0, 1, 2], ids=["light", "dark", "print"])
def test_contrast_is_that_of_level_aa(theme: int) -> None:
    style = files("rsctl.report.html").joinpath("page.css").read_text("utf-8")
    blocks = re.findall(r":root \{([^}]*)\}", style)
    assert len(blocks) == 3
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]+)", blocks[theme]))
    assert contrast("#000", "#fff") == pytest.approx(21)
    for paper in ("paper", "raised", "faint"):
        for ink in ("ink", "muted", "link", "bad", "good", "warn"):
            assert contrast(colours[ink], colours[paper]) >= 4.5, (ink, paper)
    assert contrast(colours["bad"], colours["bad-paper"]) >= 4.5
    for line in range(8):
        assert contrast(colours[f"c{line}"], colours["paper"]) >= 3, line
