"""Pictures of the dashboard for the README, from a real sweep: made when the screens change.

    python tests/benchmarks/screenshots.py [-o FOLDER] [--size 120x36]

Submits a sweep on the digits to a local queue in a folder of its own, looks at it with the real dashboard
while it trains and samples, and again when it is done. Takes a minute or two on two cores.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SWEEP = """\
name = "digits"
description = "How much noise a small network bears"
dataset = "digits"
model = { name = "cnn", width = 8 }

[[method]]
name = "gaussian"

[[method]]
name = "consistency"

[grid]
sigma = [0.25, 0.5]

[training]
epochs = 30

[certification]
n0 = 100
n = 4_000
max_images = 300
shards = 2
radii = [0.0, 0.25, 0.5, 0.75, 1.0]

[resources.training]
threads = 1
gpus = 0

[resources.certification]
threads = 1
gpus = 0
"""
LONGEST = 1200.0


async def until(pilot: Any, true: Callable[[], object], what: str) -> None:
    end = time.monotonic() + LONGEST
    while not true():
        if time.monotonic() > end:
            raise SystemExit(f"in {LONGEST:.0f} s there was no {what}")
        await pilot.pause(0.2)


def text_of(app: Any) -> str:
    """The screen as text."""
    from textual.geometry import Size

    return "\n".join(strip.text for strip in app.screen._compositor.render_strips(Size(*app.size)))


def keep(app: Any, folder: Path, name: str) -> None:
    """The screen as SVG, without fonts from elsewhere and without what nobody sees."""
    picture = app.export_screenshot(title=f"rsctl: {name}", simplify=True)
    picture = re.sub(r"@font-face \{.*?\}\s*", "", picture, flags=re.S)
    picture = re.sub(r'<rect fill="#14161b"[^>]*/>', "", picture)
    store = app.overview.store
    picture = picture.replace(store, "~/study/runs".rjust(len(store)).replace(" ", "&#160;"))
    file = folder / f"{name}.svg"
    file.write_text("\n".join(line.strip() for line in picture.splitlines() if line.strip()) + "\n")
    print(f"{file}: {file.stat().st_size / 1000:.0f} kB")


async def look(folder: Path, size: tuple[int, int]) -> None:
    from rsctl.tui.app import make_app
    from rsctl.tui.widgets.chart import Chart

    app = make_app()
    async with app.run_test(size=size) as pilot:
        grid = app.screen.query_one("#sweeps-grid")
        await until(pilot, lambda: app.overview and app.overview.sweeps, "sweep")
        runs = lambda: app.overview.sweeps[0].runs  # noqa: E731
        begun = lambda: [r for r in runs() if r.stage == "certify" and 0.3 < r.stage_progress.share < 1]  # noqa: E731
        ended = lambda: any(r.progress.share == 1 for r in runs())  # noqa: E731
        await until(pilot, lambda: ended() and begun(), "run that is being certified beside one that is done")
        grid.move_to(begun()[0].key)
        await pilot.press("right")
        partly = lambda: re.search(r"\b([6-9]\d|[12]\d\d) of 300 images", text_of(app))  # noqa: E731
        await until(pilot, partly, "curve of the run in progress")
        keep(app, folder, "sweeps")
        await until(pilot, lambda: app.overview.sweeps[0].progress.share == 1, "end of the sweep")
        await pilot.press("2")
        await until(pilot, lambda: len(app.screen.query_one(Chart).series) == len(runs()), "results")
        await pilot.pause(1)  # what qualifies the numbers is laid out
        keep(app, folder, "results")
        await pilot.press("3")
        form = app.screen.query_one("#compose-form")
        await until(pilot, lambda: form.rows, "form")
        form.move_to("Noise and repetition sigma")
        await pilot.pause(0.5)
        keep(app, folder, "compose")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-o", "--output", type=Path, default=Path(__file__).parents[1] / "screenshots")
    parser.add_argument("--size", default="120x36")
    options = parser.parse_args()
    width, _, height = options.size.partition("x")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "rsctl.toml").write_text('store = "runs"\n')
        (folder / "digits.toml").write_text(SWEEP)
        os.environ |= {"RSCTL_CONFIG": str(folder / "rsctl.toml"), "RSCTL_STORE": str(folder / "runs")}
        command = [sys.executable, "-m", "rsctl", "submit", "digits.toml"]
        subprocess.run(command, cwd=folder, check=True)
        options.output.mkdir(exist_ok=True)
        try:
            asyncio.run(look(options.output, (int(width), int(height))))
        finally:
            subprocess.run([sys.executable, "-m", "rsctl", "cancel", "digits"], cwd=folder, check=False)


if __name__ == "__main__":
    main()
