"""A plugin that can't be used blocks the sweeps that use it, and nothing else."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chain import Chain, tiny
from test_methods_plugin import DECLARATION

from rsctl import catalog
from rsctl.catalog import known_methods, plugin_problems, plugins, use_plugins
from rsctl.cli.app import run
from rsctl.config.settings import load_settings
from rsctl.tui.compose.draft import START, Draft
from rsctl.tui.compose.form import compose
from rsctl.tui.watch import Watcher


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where packages can be imported from."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    known = set(sys.modules)
    yield folder
    use_plugins([])
    for name in set(sys.modules) - known:
        if name.startswith("plugin_"):
            del sys.modules[name]


def problem(site: Path, name: str, text: str) -> str:
    """What is said of a plugin of these lines; the catalog goes on without it."""
    (site / f"{name}.py").write_text(text)
    use_plugins([name])
    (said,) = plugin_problems()
    assert "gaussian" in known_methods()
    assert "logit-norm" not in known_methods()
    assert "\n" not in said
    return said


DECLARE = "from rsctl.catalog.declare import Method\n"
WRONG = [
    ("parameters=LogitNormParameters", "parameters=dict", "from rsctl.catalog.declare import Parameters"),
    ("parameters=LogitNormParameters", "parameters=LogitNormParameters()", "derived from rsctl.catalog.declare.Parameters"),
    ("(Parameters)", "(__import__('pydantic').BaseModel)", "derived from rsctl.catalog.declare.Parameters"),
    ("revision=1", "revision='1'", "revision: input should be a valid integer, but it is '1'"),
    ('name="logit-norm"', 'name="../x"', "a name has at most 61 letters"),
    ('name="logit-norm"', "name=['x']", "name: input should be a valid string"),
    ("defaults=(Defaults(", "defaults=(dict(a=1) or Defaults(", "from rsctl.catalog.declare import Defaults"),
    ('Defaults({"weight": 0.02, "epochs": 30}', "Defaults([1]", "values: input should be a valid dictionary"),
    ("revision=1,", "revision=1, parents=['a'],", "parents: input should be a valid dictionary"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "says"), WRONG)
def test_a_declaration_of_the_wrong_kind_is_a_sentence(site: Path, old: str, new: str, says: str) -> None:
    assert says in problem(site, f"plugin_{WRONG.index((old, new, says))}", DECLARATION.replace(old, new))


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("class", f"{DECLARE}METHODS = [Method]", "made as Method(name=…) (from rsctl.catalog.declare import Method)"),
        ("single", f"{DECLARE}METHODS = Method(name='a', title='', citation='', revision=1)", "must be a list of declarations"),
        ("none", "METHODS = None", "must be a list of declarations"),
        ("leaves", "import sys\nsys.exit(3)", "line 2: SystemExit: 3"),
        ("syntax", "def", "SyntaxError"),
        ("import", "import nowhere_installed", "can't be imported (No module named 'nowhere_installed')"),
        ("endless", "def f(): f()\nf()", "RecursionError"),
        ("certificate", "class A: pass\nCERTIFICATES = [A]", "from rsctl.certificates import"),
        ("own", DECLARATION.replace('"logit-norm"', '"gaussian"'), "METHODS declares 'gaussian', which exists already"),
    ],
)  # fmt: skip
def test_a_plugin_that_cannot_be_used_is_a_sentence(site: Path, name: str, text: str, says: str) -> None:
    assert says in problem(site, f"plugin_{name}", text)


def test_of_two_that_declare_one_name_the_first_is_used(site: Path) -> None:
    for name in ("plugin_one", "plugin_two"):
        (site / f"{name}.py").write_text(DECLARATION)
    use_plugins(["plugin_one", "plugin_two", "plugin_one"])
    assert plugins() == ("plugin_one",)
    (said,) = plugin_problems()
    assert "'plugin_two': METHODS declares 'logit-norm', which 'plugin_one' already declares" in said


def test_everything_goes_on_and_says_why(chain: Chain, site: Path, capsys: Any) -> None:
    chain.plan(tiny())
    (site / "plugin_loud.py").write_text("print('not for stdout')\nraise SystemExit(3)")
    settings = chain.folder / "rsctl.toml"
    settings.write_text('plugins = ["plugin_loud", "plugin_gone"]\n' + settings.read_text())
    says = ["importing 'plugin_loud' fails", "the package 'plugin_gone' can't be imported"]
    file = str(chain.file(tiny()))
    for command in (["status"], ["status", "tiny"], ["export", "tiny"], ["check", file], ["submit", file, "--dry-run"]):  # fmt: skip
        assert run(command) == 0, command
        said = capsys.readouterr()
        assert all(one in said.out + said.err for one in says), command
        assert "not for stdout" not in said.out
    assert run(["status", "--json"]) == 0
    notices = json.loads(capsys.readouterr().out)["notices"]
    assert [sum(one in notice for notice in notices) for one in says] == [1, 1]
    chain.plan(tiny())  # it is submitted without them
    assert chain.counts_run().launch()["plugins"] == []
    assert all(any(one in told for told in Watcher().poll().problems) for one in says)
    composed = compose(Draft(START))
    assert all(one in composed.plan for one in says)
    assert load_settings().settings.plugins == ["plugin_loud", "plugin_gone"]
    wanting = str(chain.file(tiny(method="logit-norm"), "wanting.toml"))
    assert run(["check", wanting]) == 2
    assert all(one in capsys.readouterr().err for one in says[:1])


def test_the_names_of_plugins_can_be_asked_for_once_they_are_loaded(tmp_path, monkeypatch) -> None:
    """A module named as a function of its package takes its place there when it is imported."""
    (tmp_path / "fine_plugin.py").write_text("METHODS = []\n")
    monkeypatch.syspath_prepend(tmp_path)
    catalog.use_plugins(["fine_plugin"])
    try:
        assert "gaussian" in catalog.known_methods()
        assert catalog.plugins() == ("fine_plugin",)
    finally:
        catalog.use_plugins([])
