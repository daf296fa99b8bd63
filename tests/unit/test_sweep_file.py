"""Bad sweep files: a sentence with file, key and what is allowed; never a traceback."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from chain import TINY, Chain, tiny, toml

from rsctl.cli.app import run

GOOD = toml(TINY)


def refused(chain: Chain, text: str | bytes, capsys: Any, *, code: int = 2, command: str = "check") -> str:
    """What `rsctl check` says to this file, after making sure that it says it properly."""
    file = chain.folder / "bad.toml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    capsys.readouterr()
    assert run([command, str(file)]) == code
    said = capsys.readouterr()
    assert said.out == ""
    assert "bad.toml" in said.err
    return str(said.err)


def test_the_tiny_sweep_is_valid(chain: Chain, capsys: Any) -> None:
    assert run(["check", str(chain.file(GOOD))]) == 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sgima": 0.5}, ["sgima", "Did you mean 'sigma'?"]),
        ({"gird": {"sigma": [0.5]}}, ["gird", "Did you mean 'grid'?"]),
        ({"certification": {"apha": 0.1}}, ["certification.apha", "Did you mean 'alpha'?"]),
        ({"training": {"epoch": 3}}, ["training.epoch", "Did you mean 'epochs'?"]),
        ({"grid": {"sgima": [0.5]}}, ["grid.sgima", "Did you mean 'sigma'?"]),
        ({"grid": {"training": {"epoch": [3]}}}, ["grid.training.epoch", "Did you mean 'epochs'?"]),
        ({"resources": {"training": {"thread": 1}}}, ["resources.training.thread", "Did you mean 'threads'?"]),
        ({"model": {"widht": 3}}, ["model.widht", "Did you mean 'width'?"]),
        ({"method": {"name": "gaussian", "training": {"epcohs": 3}}}, ["epcohs", "Did you mean 'epochs'?"]),
        ({"method": {"name": "gaussian", "lambd": 3}}, ["method.lambd", "no such key"]),
        ({"precision": {"trianing": "fp32"}}, ["precision.trianing", "Did you mean 'training'?"]),
        ({"sigma": "0.5"}, ["sigma", "'0.5'"]),
        ({"sigma": True}, ["sigma", "True"]),
        ({"seed": True}, ["seed", "True"]),
        ({"certification": {"n": True}}, ["certification.n", "True"]),
        ({"certification": {"n": 1.5}}, ["certification.n", "1.5"]),
        ({"sigma": -0.25}, ["sigma", "greater than or equal to 0", "-0.25"]),
        ({"sigma": 0.0}, ["sigma = 0", "certification.sigma"]),
        ({"sigma": float("nan")}, ["sigma", "finite"]),
        ({"training": {"lr": float("inf")}}, ["training.lr", "finite"]),
        ({"certification": {"alpha": 0.0}}, ["certification.alpha", "greater than 0"]),
        ({"certification": {"alpha": 1.0}}, ["certification.alpha", "less than 1"]),
        ({"certification": {"alpha": -1.0}}, ["certification.alpha", "greater than 0"]),
        ({"certification": {"n": 0}}, ["certification.n", "greater than or equal to 1"]),
        ({"certification": {"n0": -5}}, ["certification.n0", "greater than or equal to 1"]),
        ({"certification": {"n": 2**31}}, ["certification.n", "less than or equal to"]),
        ({"certification": {"tile": "big"}}, ["certification.tile: input should be a valid integer or 'auto', but it is 'big'."]),
        ({"resources": {"training": {"gpus": -1}}}, ["resources.training.gpus: input should be greater than or equal to 0 or 'auto', but it is -1."]),
        ({"certification": {"tile": 90, "block": 50}}, ["tile = 90 is not a multiple of block = 50"]),
        ({"certification": {"shards": 0}}, ["certification.shards"]),
        ({"certification": {"certificates": []}}, ["certification.certificates", "at least one"]),
        ({"certification": {"certificates": ["cohne"]}}, ["certificate", "'cohne'", "Did you mean 'cohen'?"]),
        ({"certification": {"split": "validation"}}, ["certification.split", "'test' or 'val'"]),
        ({"certification": {"radii": [-1.0]}}, ["certification.radii"]),
        ({"dataset": "digit"}, ["dataset.name", "Did you mean 'digits'?", "cifar10", "imagenet"]),
        ({"dataset": 5}, ["dataset"]),
        ({"dataset": {"size": 5}}, ["dataset.name"]),
        ({"model": "resnet21"}, ["model.name", "resnet110", "cnn"]),
        ({"model": "resnet50"}, ["model.name", "at least 32 pixels"]),
        ({"method": "gausian"}, ["method.name", "Did you mean 'gaussian'?"]),
        ({"method": 7}, ["method"]),
        ({"cluster": "moon"}, ["cluster", "moon", "local", "two"]),
        ({"precision": {"training": "fp16"}}, ["precision.training", "'fp32', 'tf32' or 'bf16'"]),
        ({"sigma": [0.25, 0.5]}, ["sigma: input should be a valid number", "Several values go under [grid]."]),
        ({"grid": {"sigma": []}}, ["grid.sigma", "at least one value"]),
        ({"grid": {"sigma": 0.5}}, ["grid.sigma", "list"]),
        ({"grid": {"sigma": [0.25, -1.0]}}, ["grid.sigma", "-1.0"]),
        ({"grid": {"name": ["a", "b"]}}, ["grid.name", "a sweep has one name"]),
        ({"grid": {"sigma": [[0.25]]}}, ["grid.sigma"]),
        ({"grid": {"sigma": {"sigma": [1.0]}}}, ["sigma"]),
        ({"grid": {"seed": list(range(200)), "sigma": [0.1 + i / 10 for i in range(101)]}}, ["20,200 points"]),
        ({"training": {"warmup_epochs": 3.0}}, ["warmup_epochs = 3 ", "longer than epochs = 2", "such as warmup_epochs = 0.4"]),
    ],
)  # fmt: skip
def test_a_wrong_value_is_named_with_its_key_and_what_is_allowed(
    chain: Chain, capsys: Any, change: dict[str, Any], words: list[str]
) -> None:
    said = refused(chain, toml(tiny(**change)), capsys)
    for word in words:
        assert word in said, said


def test_a_misspelt_key_in_one_of_several_methods_is_found(chain: Chain, capsys: Any) -> None:
    text = toml({k: v for k, v in TINY.items() if k != "method"})
    text += '\n[[method]]\nname = "gaussian"\n[[method]]\nname = "gaussian"\n[method.grid]\nsede = [1]\n'
    assert "method.sede" in refused(chain, text, capsys)


@pytest.mark.parametrize(
    "name",
    ["a/b", "..", ".", ".hidden", "-rf", "two words", "line\\nbreak", "trailing\\n", "", "x" * 65, "ä", "a;b", "$(x)"],
)  # fmt: skip
def test_a_name_that_reaches_a_path_is_restricted_to_a_safe_alphabet(
    chain: Chain, capsys: Any, name: str
) -> None:
    said = refused(chain, toml(tiny(name=name)), capsys, command="submit")
    assert "use 1 to 64 letters, digits" in said
    assert not (chain.folder / "store").exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('name = "x', "is not valid TOML"),
        ("name = 1\nname = 2", "is not valid TOML"),
        (b"name = '\xff\xfe'", "can't be read"),
        ("a = " + "[" * 5000 + "]" * 5000, "is not valid TOML"),
        ("", "is required"),
        ("[certification]", "is required"),
    ],
)
def test_a_file_that_is_no_sweep_is_a_sentence(
    chain: Chain, capsys: Any, content: str | bytes, words: str
) -> None:
    assert words in refused(chain, content, capsys)


def test_a_missing_file_and_a_folder_are_sentences(chain: Chain, capsys: Any) -> None:
    assert run(["check", "nowhere.toml"]) == 2
    assert "nowhere.toml: no such file" in capsys.readouterr().err
    assert run(["submit", str(chain.folder)]) == 2
    assert "is a folder" in capsys.readouterr().err


def test_a_missing_data_set_says_what_to_put_where(chain: Chain, capsys: Any) -> None:
    said = refused(chain, toml(tiny(dataset={"name": "imagefolder", "path": "pictures"})), capsys)
    assert str(chain.folder / "data" / "pictures") in said
    assert "train/<class>/<image>" in said


@pytest.mark.parametrize("broken", ['store = "x', "stor = 'x'", "[profiles.gpu]\ncpu = 3", "profiles = 3"])  # fmt: skip
def test_a_broken_rsctl_toml_is_named(chain: Chain, capsys: Any, broken: str) -> None:
    (chain.folder / "rsctl.toml").write_text(broken)
    assert run(["status"]) == 2
    assert "rsctl.toml" in capsys.readouterr().err


def test_a_profile_without_a_backend_says_that_it_needs_one(chain: Chain, capsys: Any) -> None:
    (chain.folder / "rsctl.toml").write_text('[profiles.gpu]\npartition = "gpu"\n')
    assert run(["status"]) == 2
    assert (
        'profiles.gpu.backend: is required: set backend = "slurm"; a local profile has no partition.'
        in capsys.readouterr().err
    )


def test_a_plugin_that_is_not_installed_is_named(chain: Chain, capsys: Any) -> None:
    (chain.folder / "rsctl.toml").write_text('plugins = ["no_such_package"]')
    said = "plugins of rsctl.toml: the package 'no_such_package' can't be imported"
    assert run(["check", str(chain.file(GOOD))]) == 0
    assert said in "".join(capsys.readouterr())
    assert run(["check", str(chain.file(toml(tiny(method="of-that-package"))))]) == 2
    assert said in capsys.readouterr().err


def test_every_problem_is_reported_at_once(chain: Chain, capsys: Any) -> None:
    said = refused(chain, toml(tiny(sgima=1.0, sigma=-1.0, certification={"n": 0})), capsys)
    assert len(said.splitlines()) == 3


def test_a_grid_multiplies_methods_and_values(chain: Chain, capsys: Any) -> None:
    text = toml(tiny(grid={"sigma": [0.25, 0.5], "certification": {"n": [100, 200]}}))
    assert run(["check", str(chain.file(text)), "--json"]) == 0
    import json

    values = json.loads(capsys.readouterr().out)
    assert values["points"] == 4
    assert len(values["models"]) == 2
    assert len(values["counts"]) == 4


def test_the_templates_are_valid_and_none_is_overwritten(chain: Chain, capsys: Any) -> None:
    assert run(["new", "quickstart"]) == 0
    assert run(["check", "quickstart.toml"]) == 0
    Path("quickstart.toml").write_text("mine")
    assert run(["new", "quickstart"]) == 2
    assert Path("quickstart.toml").read_text() == "mine"
    assert run(["new", "quikstart"]) == 2
    assert "Did you mean 'quickstart'?" in capsys.readouterr().err
