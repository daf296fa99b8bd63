"""Pages for contributors: every path that they name exists, and the examples of ARCHITECTURE.md work where they say."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tomli
import typer

from rsctl.cli.app import app
from rsctl.config.sweep import build_sweep

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("README.md", ".github/ARCHITECTURE.md", ".github/CONTRIBUTING.md")
BLOCK = re.compile(
    r"^```python\n# ((?:rsctl|jobs)/\S+\.py)(?:: (after|instead of) `([^\n]+)`)?\n(.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
"""An example of ARCHITECTURE.md: the file; in one that exists the beginning of the line that it follows or replaces; the text."""
MOST_LINES = 30
"""Lines of an example without blank ones: a reader takes it in at once."""
SWEEP = """\
name = "added"
dataset = "stripes"
model = "two-layers"
method = "small-logits"
sigma = 0.25
[training]
epochs = 20
[certification]
n = 1000
certificates = ["hoeffding", "runner-up"]
max_images = 10
[[verification]]
verifier = "boxed"
norm = "l2"
radii = [0.001]
[[attack]]
attack = "shots"
"""
SCRIPT = """\
import asyncio
from pathlib import Path
import jobs, tomli
import rsctl.results
from chain import Chain
from rsctl.cli.app import run
assert Path(jobs.__file__).is_relative_to(Path.cwd())
for name in ("small-logits", "two-layers", "stripes", "hoeffding", "hoeffding-linf", "boxed", "shots"):
    assert run(["explain", name]) == 0
chain = Chain(Path.cwd())
chain.run_all(tomli.loads(Path("added.toml").read_text()))
assert run(["trained"]) == 0
(done, *_) = rsctl.results.open("store/sweeps/added").runs
assert done.certified_accuracy([0.0])[0] == 1.0
looser, tighter = (done.certify(name, alpha=0.001).radius for name in ("hoeffding", "runner-up"))
assert (looser > 0).all() and (looser < tighter).all()
(attacked,) = chain.store.runs("attacks")
assert attacked.spec.attack == "shots"
(verified,) = chain.store.runs("verifications")
assert verified.spec.verifier == "boxed"
assert run(["export", "added"]) == 0

from piloting import on_screen, until
from rsctl.tui.app import make_app

async def look():
    app = make_app()
    async with app.run_test(size=(130, 40)) as pilot:
        await until(pilot, lambda: app.overview and app.overview.sweeps, "sweep")
        await pilot.press("down", "v")
        await until(pilot, lambda: any(" bytes" in line for line in on_screen(app)), "size of the run")

asyncio.run(look())
"""


def named(page: str) -> set[str]:
    """Paths in links and code of a page, from the root of the repository."""
    text = (ROOT / page).read_text(encoding="utf-8")
    links = {
        os.path.normpath(Path(page).parent / target.partition("#")[0])
        for target in re.findall(r"\]\(([^)\s]+)\)", text)
        if "://" not in target and not target.startswith("#")
    }
    # Examples make new files.
    prose = re.sub(r"^```python\n# \S+\.py\n.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    code = {
        path
        for path in re.findall(
            r"(?<![\w/.-])((?:rsctl|jobs|tests|templates|\.ci|\.github)/[\w./-]*[\w/])", prose
        )
        if "NAME" not in path
    }
    return links | code


@pytest.mark.parametrize("page", PAGES)
def test_every_path_that_a_page_names_exists(page: str) -> None:
    found = named(page)
    assert len(found) > 5
    assert sorted(path for path in found if not (ROOT / path).exists()) == []


def test_links_within_a_page_lead_to_its_headings() -> None:
    for page in PAGES:
        text = (ROOT / page).read_text(encoding="utf-8")
        headings = {
            re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-")
            for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE)
        }
        assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= headings, page


def test_the_tree_is_that_of_the_import_contract() -> None:
    contracts = tomli.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    layers = [set(re.findall(r"rsctl\.(\w+)", layer)) for layer in contracts[0]["layers"]]
    rooms = {folder.name for folder in (ROOT / "rsctl").iterdir() if (folder / "__init__.py").exists()}
    text = (ROOT / ".github/ARCHITECTURE.md").read_text(encoding="utf-8")
    rows = [
        set(re.findall(r"`rsctl/(\w+)/`", row))
        for row in re.findall(r"^\| (`rsctl/.*?) \|", text, re.MULTILINE)
    ]
    assert [row for row in rows if row] == [layer & rooms for layer in layers if layer & rooms]


def test_the_commands_that_a_page_names_exist() -> None:
    known: Any = typer.main.get_command(app)
    text = "\n".join((ROOT / page).read_text(encoding="utf-8") for page in PAGES)
    commands = re.findall(r"(?:`|^|\.venv/bin/)rsctl ([a-z]+)([^`\n#]*)", text, re.MULTILINE)
    assert len(commands) > 20
    for command, arguments in commands:
        options = {option for one in known.commands[command].params for option in one.opts}
        assert set(re.findall(r"(?<=\s)--?[a-z][a-z-]*", arguments)) <= options, (command, arguments)


def test_the_readme_is_short_begins_with_the_picture_and_its_sweep_is_valid(tmp_path: Path) -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 120
    assert lines[2].startswith("![")
    assert "pytest" in lines[lines.index("<!-- test command -->") + 2]
    (sweep,) = re.findall(r"^```toml\n(.*?)^```$", "\n".join(lines), re.MULTILINE | re.DOTALL)
    assert len(sweep.splitlines()) == 10
    assert len(build_sweep(tomli.loads(sweep), "README.md", tmp_path).points) == 9


def test_what_contributors_add_by_the_page_works(tmp_path: Path) -> None:
    """All examples at once, in a copy of the sources."""
    for package in ("rsctl", "jobs"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    examples = BLOCK.findall((ROOT / ".github/ARCHITECTURE.md").read_text(encoding="utf-8"))
    assert len(examples) >= 16
    for name, how, beginning, text in examples:
        file = tmp_path / name
        assert len([line for line in text.splitlines() if line.strip()]) <= MOST_LINES, name
        assert file.exists() == bool(beginning), name
        if beginning:
            lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
            place = next(number for number, line in enumerate(lines) if line.startswith(beginning))
            lines[place + (how == "after") : place + 1] = [text]
            text = "".join(lines)
        file.write_text(text, encoding="utf-8")
    (tmp_path / "added.toml").write_text(SWEEP)
    (tmp_path / "rsctl.toml").write_text('store = "store"\ndata = "data"\n')
    environment = {
        **os.environ,
        "PYTHONPATH": f"{tmp_path}:{ROOT / 'tests'}:{ROOT / 'tests/tui'}",
        "RSCTL_CONFIG": str(tmp_path / "rsctl.toml"),
    }
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "added" in done.stdout
