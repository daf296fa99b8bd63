"""Every file of a folder of class folders is taken, or counted and named; what older versions took keeps its identity."""

from __future__ import annotations

import hashlib
import json
import os
import re
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from chain import Chain, tiny
from PIL import Image
from torchvision.datasets import ImageFolder

from jobs.data import load, require_planned
from rsctl.catalog import folders
from rsctl.catalog.datasets import ImageFolder as FolderParameters
from rsctl.catalog.declare import DataShape
from rsctl.catalog.listing import list_split
from rsctl.catalog.shape import shape_of
from rsctl.cluster import control
from rsctl.errors import InputError, RefusedError
from rsctl.plan.describe import describe
from rsctl.results.sweep import sweep_results

FOLDER = {"path": "own", "size": 8}
SWEEP = tiny(dataset={"name": "imagefolder", "path": "own", "size": 8}, certification={"max_images": 2})


@pytest.fixture
def own(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two classes with two images in each split, and no queue that would start anything."""
    monkeypatch.setattr("rsctl.cluster.local.backend.start_detached", lambda *_: None)
    root = chain.folder / "data" / "own"
    for split in ("train", "test"):
        for name, colour in (("ant", "red"), ("bee", "blue")):
            for number in range(2):
                draw(root / split / name / f"{number}.png", colour)
    return root


def draw(path: Path, colour: str = "green", **how: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), colour).save(path, **how)


def check(chain: Chain) -> str:
    return describe(control.plan_file(chain.file(SWEEP), chain.place), chain.place).text


def nested(root: Path) -> None:
    draw(root / "train" / "ant" / "images" / "a.png")
    draw(root / "train" / "ant" / "images-2" / "b.JPEG")
    draw(root / "train" / "ant" / "images" / "deep" / "c.webp")


def linked(root: Path) -> None:
    draw(root.parent / "elsewhere" / "x.png")
    (root / "train" / "bee" / "more").symlink_to(root.parent / "elsewhere")
    (root / "train" / "bee" / "y.png").symlink_to(root.parent / "elsewhere" / "x.png")


def one_class_elsewhere(root: Path) -> None:
    (root / "train" / "bee").rename(root.parent / "bees")
    (root / "train" / "bee").symlink_to(root.parent / "bees")


@pytest.mark.parametrize("lay", [lambda root: None, nested, linked, one_class_elsewhere])
def test_what_torchvision_takes_is_taken_in_its_order(lay: Callable[[Path], None], own: Path) -> None:
    lay(own)
    theirs = [
        (os.path.relpath(path, own / "train"), label) for path, label in ImageFolder(own / "train").samples
    ]
    listed = list_split(own, "train", ("ant", "bee"))
    assert [(file.removeprefix("train/"), label) for file, label, _ in listed.files] == theirs
    assert listed.left_out == {}
    assert len(load("imagefolder", FOLDER, "train", own.parent)) == len(theirs)


LEFT_OUT: dict[str, tuple[Callable[[Path], Any], str]] = {
    "gif": (lambda root: draw(root / "train/ant/a.gif"), r"1 with extension \.gif \(train/ant/a\.gif\)"),
    "jfif": (
        lambda root: draw(root / "test/ant/a.JFIF", format="JPEG"),
        r"1 with extension \.jfif.*\.jfif to \.jpg",
    ),
    "no ending": (lambda root: draw(root / "train/ant/a", format="PNG"), r"1 without an extension"),
    "dead link": (
        lambda root: (root / "train/ant/a.jpg").symlink_to("../../.git/annex/objects/x"),
        r"1 links that lead nowhere \(train/ant/a\.jpg\).*git annex get",
    ),
    "dead class": (
        lambda root: (root / "train/cat").symlink_to("/nowhere"),
        r"1 links that lead nowhere \(train/cat\)",
    ),
    "link to itself": (
        lambda root: (root / "train/ant/a.jpg").symlink_to("a.jpg"),
        r"1 links that lead nowhere",
    ),
    "loop": (lambda root: (root / "train/ant/all").symlink_to(".."), r"1 links to a folder above them"),
    "dotted class": (lambda root: draw(root / "train/.cat/a.png"), r"1 in a folder whose name begins with a"),
    "dotted folder": (
        lambda root: draw(root / "train/ant/.ipynb_checkpoints/a.png"),
        r"1 in a folder whose name begins",
    ),
    "no class": (lambda root: draw(root / "train/a.png"), r"1 outside class folders \(train/a\.png\)"),
    "pipe": (lambda root: os.mkfifo(root / "train/ant/a.png"), r"1 pipes, sockets or devices"),
}


@pytest.mark.parametrize("case", LEFT_OUT)
def test_what_is_left_out_is_counted_and_named(case: str, chain: Chain, own: Path) -> None:
    lay, said = LEFT_OUT[case]
    before = shape_of("imagefolder", FOLDER, own.parent)
    assert before.left_out == ""
    lay(own)
    shape = shape_of("imagefolder", FOLDER, own.parent)
    assert (shape.counts, shape.fingerprint, shape.splits) == (
        before.counts,
        before.fingerprint,
        before.splits,
    )
    assert re.match(rf"1 file left out: {said}", shape.left_out)
    assert f"note: imagefolder 'own': {shape.left_out}" in check(chain)
    submitted = control.submit(chain.file(SWEEP), chain.place).committed
    assert any(shape.left_out in note for note in submitted.notes)
    assert any(shape.left_out in note for note in sweep_results(chain.store, "tiny").notes)


def test_what_systems_put_there_is_no_image_that_is_left_out(own: Path) -> None:
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", ".directory"):
        (own / "train" / "ant" / name).write_bytes(b"x")
    assert shape_of("imagefolder", FOLDER, own.parent).left_out == ""


def test_the_remedies_of_what_is_left_out_take_it(own: Path) -> None:
    draw(own / "train/ant/a.jfif", format="JPEG")
    draw(own / "train/ant/b.gif")
    draw(own / "train/ant/c", format="PNG")
    (own / "train/ant/d.png").symlink_to("../../objects/d")
    draw(own / "train/e.png")
    draw(own / "train/.cat/f.png")
    draw(own / "test/.cat/f.png")
    assert "7 files left out" in shape_of("imagefolder", FOLDER, own.parent).left_out
    dotted = shape_of("imagefolder", {**FOLDER, "classes": ["ant", "bee", ".cat"]}, own.parent)
    assert dotted.counts == {"train": 5, "test": 5}
    (own / "train/ant/a.jfif").rename(own / "train/ant/a.jpg")
    Image.open(own / "train/ant/b.gif").save(own / "train/ant/b.png")
    (own / "train/ant/b.gif").unlink()
    (own / "train/ant/c").rename(own / "train/ant/c.png")
    draw(own / "objects/d", format="PNG")
    (own / "train/e.png").rename(own / "train/bee/e.png")
    for split in ("train", "test"):
        (own / split / ".cat").rename(own / split / "cat")
    shape = shape_of("imagefolder", FOLDER, own.parent)
    assert (shape.counts, shape.left_out) == ({"train": 10, "test": 5}, "")
    assert len(load("imagefolder", FOLDER, "train", own.parent)) == 10


def test_a_class_of_other_files_alone_says_what_they_are(own: Path) -> None:
    for number in range(2):
        (own / f"train/ant/{number}.png").unlink()
    draw(own / "train/ant/a.gif")
    with pytest.raises(
        InputError, match=r"ant has no image file .*It has 1 file left out: 1 with extension \.gif"
    ):
        shape_of("imagefolder", FOLDER, own.parent)


COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "Größe") for form in ("NFC", "NFD"))


@pytest.mark.parametrize(("train", "test"), [(COMPOSED, DECOMPOSED), (DECOMPOSED, COMPOSED)])
def test_class_names_that_look_the_same_are_the_same(train: str, test: str, own: Path) -> None:
    draw(own / "train" / train / "0.png")
    draw(own / "test" / test / "0.png")
    labels = [0, 1, 1, 2, 2]  # G before a
    assert load("imagefolder", FOLDER, "test", own.parent).labels.tolist() == labels
    for name in (COMPOSED, DECOMPOSED):
        images = load("imagefolder", {**FOLDER, "classes": ["bee", name]}, "test", own.parent)
        assert images.labels.tolist() == [0, 0, 1]
    draw(own / "train" / test / "1.png")
    with pytest.raises(InputError, match=r"two class folders 'Größe'.*Move their images into one folder"):
        shape_of("imagefolder", FOLDER, own.parent)
    (own / "train" / test / "1.png").rename(own / "train" / train / "1.png")
    (own / "train" / test).rmdir()
    assert shape_of("imagefolder", FOLDER, own.parent).counts == {"train": 6, "test": 5}


def as_older_versions(root: Path, parameters: Any) -> DataShape:
    """One fingerprint for both splits, of files that lie in class folders themselves."""
    names = folders.class_names(root, parameters)
    files = {
        split: [file for file in list_split(root, split, names).files if file[0].count("/") == 2]
        for split in ("train", "test")
    }
    counts = {split: len(listed) for split, listed in files.items()}
    fingerprint = hashlib.sha256(json.dumps(files).encode()).hexdigest()
    return DataShape(3, parameters.size, len(names), counts, names, fingerprint)


def submit_as_older_versions(chain: Chain, own: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    with monkeypatch.context() as then:
        then.setattr(
            "rsctl.config.resolve.shape_of", lambda name, values, root: as_older_versions(own, values)
        )
        control.submit(chain.file(SWEEP), chain.place)
    return chain.store.sweep("tiny")


def test_runs_of_older_versions_keep_their_names(
    chain: Chain, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = submit_as_older_versions(chain, own, monkeypatch)
    assert control.submit(chain.file(SWEEP), chain.place).committed.notes == []
    after = chain.store.sweep("tiny")
    assert [entry.run for entry in after["entries"]] == [entry.run for entry in before["entries"]]
    for split in ("train", "test"):
        images = load("imagefolder", FOLDER, split, own.parent)
        require_planned(images, "imagefolder", chain.counts_run().table_spec.data)


def test_a_list_that_grows_is_no_other_data_without_being_asked(
    chain: Chain, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nested(own)
    before = submit_as_older_versions(chain, own, monkeypatch)
    with pytest.raises(
        RefusedError, match=r"files of imagefolder 'own' differ.*left out images in folders below.*--update"
    ):
        control.submit(chain.file(SWEEP), chain.place)
    assert chain.store.sweep("tiny") == before
    old = chain.counts_run().table_spec.data
    with pytest.raises(InputError, match=r"differ from those this run was planned for.*--update"):
        require_planned(load("imagefolder", FOLDER, "test", own.parent), "imagefolder", old)
    assert any(
        "update: adds" in n
        for n in control.submit(chain.file(SWEEP), chain.place, update=True).committed.notes
    )


def test_a_test_image_that_goes_leaves_the_training_what_it_is(chain: Chain, own: Path) -> None:
    committed = chain.run_all(SWEEP)
    model = next(request.task.run for request in committed.requests if request.task.run.kind == "models")
    shape = shape_of("imagefolder", FOLDER, own.parent)
    assert (model.train_spec.data, chain.counts_run().table_spec.data) == (
        shape.splits["train"],
        shape.splits["test"],
    )
    (own / "test" / "bee" / "1.png").unlink()
    with pytest.raises(
        RefusedError, match=r"the test files of imagefolder 'own' differ .*Its models are kept.*--update"
    ):
        chain.plan(SWEEP)
    again = chain.plan(SWEEP, update=True)
    assert {request.task.run.kind for request in again.requests} == {"counts"}
    for request in again.requests:
        chain.run(request.task)
    assert model.id in {entry.model for entry in chain.store.sweep("tiny")["entries"]}
    assert len(list(chain.store.runs("models"))) == 1
    (own / "train" / "bee" / "1.png").unlink()
    with pytest.raises(RefusedError, match=r"the files of imagefolder 'own' differ"):
        chain.plan(SWEEP)


def test_parameters_of_other_classes_leave_nothing_out(own: Path) -> None:
    draw(own / "train/.cat/a.png")
    draw(own / "train/cat/a.gif")
    parameters = FolderParameters(path="own", size=8, classes=["ant", "bee"])
    assert folders.inspect_folder(own.parent, parameters).left_out == ""
