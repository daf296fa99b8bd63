"""Picture of the HTML report for the README, from a real sweep: made when the report changes.

    python tests/benchmarks/report_picture.py [-o FILE.png]

Needs Chromium and Playwright. Takes a minute or two on two cores.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright
from screenshots import SWEEP

SIZE = {"width": 1180, "height": 1400}


def draw(page_file: Path, picture: Path) -> None:
    """The table, and the curves with the values under the pointer."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    with sync_playwright() as run:
        browser = run.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport=SIZE, color_scheme="light")
        page.goto(page_file.as_uri())
        # The best noise levels, which come between the table and the curves.
        page.evaluate("document.querySelectorAll('#tables figure.table')[1].hidden = true")
        page.evaluate("window.scrollTo(0, document.getElementById('tables').offsetTop - 25)")
        plot = page.locator("#curve-1 .plot").bounding_box()
        assert plot
        page.mouse.move(plot["x"] + 0.45 * plot["width"], plot["y"] + 0.4 * plot["height"])
        page.screenshot(path=picture)
        browser.close()
    # 128 colours are as many as anyone sees, in a third of the bytes.
    Image.open(picture).convert("RGB").quantize(128).save(picture, optimize=True)
    print(f"{picture}: {picture.stat().st_size / 1000:.0f} kB")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "-o", "--output", type=Path, default=Path(__file__).parents[1] / "screenshots" / "report.png"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "rsctl.toml").write_text('store = "runs"\n')
        (folder / "digits.toml").write_text(SWEEP)
        os.environ |= {"RSCTL_CONFIG": str(folder / "rsctl.toml"), "RSCTL_STORE": str(folder / "runs")}
        for words in (["submit", "digits.toml", "--wait"], ["report", "digits", "-o", "report.html"]):
            subprocess.run([sys.executable, "-m", "rsctl", *words], cwd=folder, check=True)
        draw(folder / "report.html", options.output.absolute())


if __name__ == "__main__":
    main()
