"""What users look up: every declaration has its texts, every example resolves, the schema takes what the loader takes."""

from __future__ import annotations

import json
import re
import textwrap
from pathlib import Path
from typing import Any

import pytest
import tomli
import typer
from chain import Chain

from rsctl import completion
from rsctl.catalog import use_plugins
from rsctl.catalog.declare import Attack, DataSet, Method, Model, Verifier
from rsctl.certificates import certificates
from rsctl.certificates.possible import Draws, ask, best_table
from rsctl.cli.app import app, run
from rsctl.config.point import Point
from rsctl.config.runs import CountSpec
from rsctl.config.settings import LocalProfile, Settings, SlurmProfile
from rsctl.config.sweep import Sweep, build_sweep
from rsctl.config.templates import all_templates
from rsctl.config.toml_text import to_toml
from rsctl.errors import InputError
from rsctl.reference.entries import TABLES, entries, find
from rsctl.reference.entry import ReferenceEntry
from rsctl.reference.pages import WIDTH, listing, page
from rsctl.reference.schema import fields, sweep_schema
from rsctl.reference.topics import FOLDER, GENERATED, topic, topics

REFERENCE = (
    "sweep-file", "store", "cluster", "certificates", "results", "checkpoints", "plugins", "dashboard"
)  # fmt: skip
EVERY = [pytest.param(one, id=f"{one.kind} {one.name}") for one in entries()]


def sentences(text: str) -> int:
    return len(re.findall(r"[.!](?:\s|$)", text))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with the files that two examples name."""
    import numpy as np
    from PIL import Image
    from safetensors.numpy import save_file

    root = tmp_path_factory.mktemp("data")
    for split in ("train", "test"):
        for name in ("ant", "bee"):
            folder = root / "animals" / split / name
            folder.mkdir(parents=True)
            Image.new("RGB", (64, 64)).save(folder / "1.png")
    save_file({"weight": np.zeros((2, 2), np.float32)}, root / "checkpoint.pth.tar")
    return root


def resolved(example: dict[str, Any], files: Path) -> Sweep:
    """The example as a user would have it: printed, copied into a file, read."""
    raw = tomli.loads(to_toml(example))
    if isinstance(raw.get("method"), dict) and "file" in raw["method"]:
        raw["method"]["file"] = str(files / raw["method"]["file"])
    return build_sweep(raw, "example.toml", files)


def test_every_declaration_has_its_texts() -> None:
    lacking = []
    for one in entries():
        if sentences(one.about) < (1 if one.kind == "key" else 2):
            lacking.append(f"{one.kind} {one.name}: about is {one.about!r}")
        if one.kind != "key" and not (one.use_when.endswith(".") and one.source):
            lacking.append(f"{one.kind} {one.name}: use_when or citation is missing")
        if one.kind in ("certificate", "verifier", "attack") and not one.guarantees:
            lacking.append(f"{one.kind} {one.name}: guarantees nothing")
        lacking += [
            f"{one.kind} {one.name}: {parameter.name} has no description"
            for parameter in one.parameters
            if not parameter.schema.get("description", "").endswith(".")
        ]
    assert not lacking, "\n".join(lacking)


@pytest.mark.parametrize("model", [Point, *TABLES.values(), Settings, LocalProfile, SlurmProfile])
def test_every_field_of_a_file_has_a_description(model: Any) -> None:
    lacking = [name for name, one in fields(model).items() if not one.get("description", "").endswith(".")]
    assert not lacking


@pytest.mark.parametrize("entry", EVERY)
def test_every_example_resolves(entry: ReferenceEntry, files: Path) -> None:
    sweep = resolved(entry.example, files)
    if entry.kind == "certificate":
        (spec,) = [table.spec for table in sweep.points[0].tables]
        assert isinstance(spec, CountSpec)
        draws = Draws.of(spec, 10, sweep.points[0].shape.dimension)
        # It refuses a table that it isn't sound for.
        assert ask(entry.name, best_table(draws, spec.n, 0.001), 0.001) > 0
    if entry.kind in ("method", "model", "data set"):
        train = sweep.points[0].train
        assert entry.name in (train.method, train.model, train.dataset)


def test_an_example_sets_the_key_that_it_is_of() -> None:
    for one in entries():
        if one.kind == "key":
            found: Any = one.example
            for part in one.name.split("."):
                found = found[0] if isinstance(found, list) else found
                assert part in found, one.name
                found = found[part]


def test_a_key_of_a_table_that_may_be_left_out_isnt_called_required() -> None:
    entry = next(one for one in entries() if (one.kind, one.name) == ("key", "cascade"))
    text = "\n".join(part for parts in page(entry) for part in parts)
    assert re.findall(r"^  (\w+): .*\. (Required|Not set)", text, re.MULTILINE) == [
        ("levels", "Required"), ("tau", "Required"), ("tuned", "Not set"),
    ]  # fmt: skip


def test_pages_and_the_list_fit_80_columns() -> None:
    texts = [text for shown in [*map(page, entries()), listing()] for section in shown for text in section]
    texts += [topic(name) for name in REFERENCE]
    wide = [line for text in texts for line in text.splitlines() if len(line) > WIDTH]
    assert not wide


def test_a_plugin_without_texts_is_explained_by_its_title() -> None:
    for kind, needed in (
        (Method, {"revision": 1}),
        (Model, {}),
        (DataSet, {"channels": 1, "size": 8, "classes": 10}),
        (Verifier, {"revision": 1, "norms": ("l2",), "rounding": "none"}),
        (Attack, {"revision": 1, "norms": ("l2",)}),
    ):
        made = kind(name="mine", title="Mine", citation="me", **needed)
        assert made.about == made.use_when == ""


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("smoothadv", "Salman et al. 2019, authors' code: README and logs"),
        ("ibp", "ibp (verifier)"),
        ("Cohen", "with probability at least 1"),
        ("training.epochs", "macer, cifar10, cifar100: epochs = 440"),
        ("alpha", "certification.alpha (key of a sweep file)"),
        ("certification", "Estimation draws per image."),
        ("top-5-linf", "the 5 most probable classes of g"),
        ("splitting-l1", "Deterministic"),
        ("l-bound", "Nothing of the smoothed classifier g"),
    ],
)
def test_explain_prints_a_page(
    name: str, said: str, chain: Chain, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["explain", name]) == 0
    assert said in " ".join(capsys.readouterr().out.split())


def test_explain_names_the_nearest(chain: Chain, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain", "certify.alpha"]) == 2
    assert "Nearest: certification.alpha" in capsys.readouterr().err
    with pytest.raises(InputError, match="Nearest: smoothadv"):
        find("smothadv")


def test_explain_alone_lists_every_name(chain: Chain, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain"]) == 0
    words = set(capsys.readouterr().out.split())
    assert {one.name for one in entries() if not one.variant} <= words


def test_explain_as_json_is_one_document(chain: Chain, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == len(entries())
    assert run(["explain", "ibp", "--json"]) == 0
    assert [one["kind"] for one in json.loads(capsys.readouterr().out)] == ["method", "verifier"]


def test_names_are_completed(chain: Chain) -> None:
    assert completion.explained("smooth") == ["smoothadv", "smoothmix"]
    assert completion.explained("training.st") == [
        "training.step_epochs",
        "training.step_factor",
        "training.step_shift",
    ]
    assert "sweep-file" in completion.topics("s")


# The schema of sweep files


@pytest.fixture(scope="module")
def schema() -> Any:
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is of the test extra")
    found = sweep_schema()
    jsonschema.Draft202012Validator.check_schema(found)
    return jsonschema.Draft202012Validator(found)


def test_the_schema_takes_every_template_and_example(schema: Any) -> None:
    files = {one.name: tomli.loads(one.text) for one in all_templates()}
    files |= {f"{one.kind} {one.name}": tomli.loads(to_toml(one.example)) for one in entries()}
    wrong = {name: [error.message for error in schema.iter_errors(raw)] for name, raw in files.items()}
    assert not {name: errors for name, errors in wrong.items() if errors}


SWEEP = {"name": "s", "dataset": "digits", "model": "cnn", "method": "gaussian", "sigma": 0.5}


@pytest.mark.parametrize(
    "given",
    [
        {"grid": {"training": {"lr": [0.1]}}},
        {"grid": {"training.lr": [0.1]}},
        {"grid": {"method": {"name": ["macer"], "lbd": [1.0]}}},
        {"grid": {"certification": {"radii": [[0.5], ["1/255"]]}}},
        {"method": ["gaussian", {"name": "macer", "grid": {"lbd": [1.0], "sigma": [0.5], "training": {"lr": [0.1, 0.2]}}}]},
        {"method": {"name": "cat-rs", "teacher": {"name": "gaussian", "sigma": 0.1}}},
        {"verification": {"verifier": "crown", "radii": ["2/255", 0.1], "batch": 1}},
        {"dataset": {"name": "digits"}, "certification": {"tile": "auto", "radii": [0, "1/255"]}},
        {"resources": {"training": {"gpus": "auto", "memory_gb": 4}}},
    ],
)  # fmt: skip
def test_the_schema_takes_what_the_loader_takes(given: dict[str, Any], schema: Any, tmp_path: Path) -> None:
    build_sweep({**SWEEP, **given}, "s.toml", tmp_path)
    assert schema.is_valid({**SWEEP, **given})


@pytest.mark.parametrize(
    "given",
    [
        {"sgima": 1.0},
        {"sigma": [0.25]},
        {"certification": {"alhpa": 0.1}},
        {"certification": {"n": "many"}},
        {"certification": {"alpha": 1.0}},
        {"training": {"epochs": 1.5}},
        {"training": {"schedule": "stairs"}},
        {"method": "smoothad"},
        {"method": {"name": "smoothadv", "epsilom": 1.0}},
        {"method": [{"name": "macer", "grid": {"lbdd": [1.0]}}]},
        {"model": {"name": "cnn", "width": "wide"}},
        {"dataset": {"name": "imagefolder", "pth": "x"}},
        {"grid": {"sigma": 0.5}},
        {"grid": {"sgima": [0.5]}},
        {"grid": {"name": ["a", "b"]}},
        {"grid": {"training": {"lrr": [0.1]}}},
        {"verification": [{"verifier": "crown", "bath": 1}]},
        {"verification": [{"verifier": "ibp", "norm": "l2"}]},
        {"attack": [{"attack": "ddn", "start": "x"}]},
    ],
)
def test_the_schema_refuses_what_the_loader_refuses(
    given: dict[str, Any], schema: Any, tmp_path: Path
) -> None:
    with pytest.raises(InputError):
        build_sweep({**SWEEP, **given}, "s.toml", tmp_path)
    assert not schema.is_valid({**SWEEP, **given})


def test_schema_is_one_document(chain: Chain, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["schema"]) == 0
    assert json.loads(capsys.readouterr().out)["$schema"].endswith("2020-12/schema")


# Topics


def test_every_topic_has_a_page_and_every_mark_a_list(
    chain: Chain, capsys: pytest.CaptureFixture[str]
) -> None:
    assert set(REFERENCE) <= set(topics())
    used = set()
    for name in topics():
        text = topic(name)
        assert text.startswith("# ")
        assert "<!-- rsctl:" not in text
        used |= set(re.findall(r"<!-- rsctl: (.+) -->", (FOLDER / f"{name}.md").read_text(encoding="utf-8")))
    assert used == set(GENERATED)
    assert run(["help"]) == 0
    assert set(topics()) <= set(capsys.readouterr().out.split())
    assert run(["help", "plugin"]) == 2
    assert "Did you mean 'plugins'?" in capsys.readouterr().err


def blocks(name: str) -> list[str]:
    """The indented blocks of a page."""
    text = (FOLDER / f"{name}.md").read_text(encoding="utf-8")
    found = re.findall(r"(?:^    .*\n|^\n(?=    ))+", text, re.MULTILINE)
    return [textwrap.dedent(block) for block in found]


@pytest.mark.parametrize("name", ["sweep-file", "certificates", "checkpoints"])
def test_the_sweep_files_of_a_page_resolve(name: str, files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(files)
    tested = 0
    for block in blocks(name):
        if re.search(r"^\[|^sigma = ", block, re.MULTILINE):
            build_sweep({**SWEEP, **tomli.loads(block)}, name, files)
            tested += 1
    assert tested


def test_the_profiles_of_the_page_on_clusters_are_profiles() -> None:
    (block,) = [block for block in blocks("cluster") if "[profiles." in block]
    ((name, values),) = tomli.loads(block)["profiles"].items()
    assert SlurmProfile(**values).partition == name


def test_the_commands_of_the_pages_exist() -> None:
    known: Any = typer.main.get_command(app)
    commands = re.findall(
        r"(?:`|^    )rsctl ([a-z]+)([^`\n#]*)", "\n".join(map(topic, REFERENCE)), re.MULTILINE
    )
    assert len(commands) > 40
    for command, arguments in commands:
        options = {option for one in known.commands[command].params for option in one.opts}
        assert set(re.findall(r"(?<=\s)--[a-z-]+", arguments)) <= options, (command, arguments)


def test_the_certificates_page_lists_them_all() -> None:
    shown = topic("certificates").split()
    assert {name for name in certificates() if not name.endswith(("-l1", "-linf"))} <= set(shown)


def test_texts_follow_the_plugins(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    site = chain.folder / "site"
    site.mkdir()
    (site / "explained_plugin.py").write_text(
        "from rsctl.catalog.declare import Model\nMODELS = [Model('tiny', 'Tiny', 'me', implementation='none')]\n"
        "from rsctl.certificates import Guarantee\n"
        "class Bare:\n    name, title, citation, norm, k = 'bare', 'Bare', 'me', 'l2', 1\n"
        "    guarantee = Guarantee('heuristic', 'f')\n    def certify(self, table, alpha): ...\nCERTIFICATES = [Bare()]\n"
    )
    monkeypatch.syspath_prepend(str(site))
    try:
        use_plugins(["explained_plugin"])
        (found,) = find("tiny")
        assert any("Tiny" in text for _, text in page(found))
        named = json.dumps(sweep_schema())
        assert "tiny" in named
        assert "bare" in named
    finally:
        use_plugins([])
    with pytest.raises(InputError):
        find("tiny")
