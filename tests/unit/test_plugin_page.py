"""The page on plugins is executed as it is printed."""

from __future__ import annotations

import re

import pytest
import tomli
from chain import Chain

import rsctl.results
from rsctl.catalog import plugin_problems, use_plugins
from rsctl.cli.app import run
from rsctl.config.settings import load_settings
from rsctl.reference.topics import topic

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MOST_LINES = 20
"""Lines of one block: a reader takes it in at once."""


def test_the_page_is_a_plugin_that_trains_certifies_and_attacks(
    chain: Chain, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    blocks = BLOCK.findall(topic("plugins"))
    for language, text in blocks:
        lines = [line for line in text.splitlines() if line.strip()]
        assert len(lines) <= MOST_LINES, text
        if language == "python":
            file = chain.folder / "site" / lines[0].removeprefix("# ")
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("a") as stream:
                stream.write(text + "\n\n")
    (sweep,) = [tomli.loads(text) for language, text in blocks if language == "toml"]
    monkeypatch.syspath_prepend(str(chain.folder / "site"))
    settings = chain.folder / "rsctl.toml"
    settings.write_text('plugins = ["myplugin"]\n' + settings.read_text())
    try:
        load_settings()
        assert plugin_problems() == []
        for name in ("small-logits", "two-layers", "stripes", "hoeffding", "shots"):
            assert run(["explain", name]) == 0
        assert "too sure" in capsys.readouterr().out
        chain.run_all(sweep)
        (done,) = rsctl.results.open(chain.store.root / "sweeps" / "mine").runs
        assert done.certified_accuracy([0.0])[0] == 1.0
        looser, tighter = (done.certify(name, alpha=0.001).radius for name in ("hoeffding", "runner-up"))
        assert (looser > 0).all()
        assert (looser < tighter).all()
        (attacked,) = chain.store.runs("attacks")
        assert attacked.spec.attack == "shots"
    finally:
        use_plugins([])
