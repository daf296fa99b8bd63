"""A training method in a package of one's own, in 40 lines."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from chain import Chain, tiny

from rsctl.catalog import use_plugins
from rsctl.errors import InputError

DECLARATION = '''\
"""A training method of one's own: what is declared, without torch ..."""

from typing import Annotated

from pydantic import Field

from rsctl.catalog.declare import Defaults, Method, Parameters


class LogitNormParameters(Parameters):
    """Gaussian augmentation with a penalty on the size of the logits."""

    weight: Annotated[float, Field(ge=0)] = 0.01
    """Weight of the penalty."""


METHODS = [
    Method(
        name="logit-norm",
        title="Gaussian augmentation with small logits",
        citation="mine, 2026",
        revision=1,
        parameters=LogitNormParameters,
        defaults=(Defaults({"weight": 0.02, "epochs": 30}, source="my notes, page 3", dataset="digits"),),
        implementation="mymethods.logit_norm",
    )
]
'''

LOSS = '''\
"""... and its loss."""


def loss(model, x, y, state):
    logits = model(x + state.noise())
    penalty = logits.float().square().sum(dim=1).mean()
    return state.cross_entropy(logits, y) + state.parameters["weight"] * penalty, logits
'''


def test_a_method_of_ones_own_is_a_declaration_and_a_loss(
    chain: Chain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "site" / "mymethods"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(DECLARATION)
    (package / "logit_norm.py").write_text(LOSS)
    assert len((DECLARATION + LOSS).splitlines()) <= 40
    monkeypatch.syspath_prepend(str(package.parent))
    settings = tmp_path / "rsctl.toml"
    settings.write_text('plugins = ["mymethods"]\n' + settings.read_text())
    monkeypatch.setenv("PYTHONPATH", str(package.parent))
    file = chain.file(tiny(method={"name": "logit-norm", "weight": 0.5, "training": {"epochs": 1}}))
    checked = chain.cli("check", file)
    assert checked.code == 0, checked.err
    assert "logit-norm-digits-s0.5" in checked.out
    wrong = chain.file(tiny(method={"name": "logit-norm", "wieght": 0.5}), "wrong.toml")
    assert "Did you mean 'weight'?" in chain.cli("check", wrong).err
    try:
        chain.run_all(tiny(method={"name": "logit-norm", "training": {"epochs": 1}}))
        (run,) = chain.store.runs("models")
        assert run.train_spec.hyperparameters == {"weight": 0.02}
        assert run.model_file.exists()
    finally:
        use_plugins([])


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("revision=1,", "", "importing 'wrongmethods' fails in .*__init__.py, line [0-9]+: TypeError"),
        ("METHODS = [", "METHODS = [(", r"fails: SyntaxError: .*__init__.py, line [0-9]+"),
        ("METHODS = [", "METHODS = ['logit-norm',", "METHODS holds 'logit-norm'; each entry is a rsctl.catalog.declare.Method"),
        ('"weight": 0.02', '"wieght": 0.02', "a default for the unknown field 'wieght'. Did you mean 'weight'?"),
        ("mymethods.logit_norm", "mymethods.logitnorm", "its loss in 'wrongmethods.logitnorm', which doesn't exist"),
        ("mymethods.logit_norm", "no.such.module", "its loss in 'no.such.module', which doesn't exist"),
    ],
)  # fmt: skip
def test_a_wrong_declaration_is_explained(
    chain: Chain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, said: str
) -> None:
    package = tmp_path / "site" / "wrongmethods"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(DECLARATION.replace(old, new).replace("mymethods", "wrongmethods"))
    (package / "logit_norm.py").write_text(LOSS)
    monkeypatch.setenv("PYTHONPATH", str(package.parent))
    settings = tmp_path / "rsctl.toml"
    settings.write_text('plugins = ["wrongmethods"]\n' + settings.read_text())
    checked = chain.cli("check", chain.file(tiny(method="logit-norm")))
    assert checked.code == 2
    assert re.search(said, checked.err), checked.err


def test_doctor_says_that_a_plugin_is_missing_and_goes_on(chain: Chain, tmp_path: Path) -> None:
    settings = tmp_path / "rsctl.toml"
    settings.write_text('plugins = ["nowhere_installed"]\n' + settings.read_text())
    try:
        found = chain.cli("doctor")
        assert found.code == 3
        assert (
            "PROBLEM  catalog: plugins of rsctl.toml: the package 'nowhere_installed' can't be imported"
            in found.out
        )
        assert "gpus: " in found.out
    finally:
        use_plugins([])


def test_a_method_of_ones_own_trains_with_splitting_noise_if_it_declares_so(
    chain: Chain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    splitting = {"noise": "splitting", "certification": {"certificates": ["splitting-l1"], "max_images": 2}}
    values = tiny(method={"name": "logit-norm", "training": {"epochs": 1}}, **splitting)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    settings = tmp_path / "rsctl.toml"
    plain = settings.read_text()
    try:
        for package, declares in (("movesimages", ""), ("addsnoise", "splitting=True,")):
            folder = tmp_path / "site" / package
            folder.mkdir(parents=True)
            declaration = DECLARATION.replace("mymethods", package).replace(
                "revision=1,", f"revision=1, {declares}"
            )
            (folder / "__init__.py").write_text(declaration)
            (folder / "logit_norm.py").write_text(LOSS)
            settings.write_text(f'plugins = ["{package}"]\n{plain}')
            if not declares:
                with pytest.raises(
                    InputError, match="Methods that support it: consistency, gaussian, stability, checkpoint"
                ):
                    chain.plan(values)
        chain.run_all(values)
        (run,) = chain.store.runs("models")
        assert (run.train_spec.method, run.train_spec.noise) == ("logit-norm", "splitting")
        assert run.model_file.exists()
        with pytest.raises(InputError, match="gaussian, stability, logit-norm, checkpoint"):
            chain.plan(tiny(method="macer", **splitting))
    finally:
        use_plugins([])
