"""ImageNet's folders: seen as they are before a training begins, and brought into the form in which they are read."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from chain import Chain, tiny

from jobs.data import load
from rsctl.catalog import imagenet
from rsctl.catalog.imagenet import validation_classes
from rsctl.cli.app import run
from rsctl.cluster import control
from rsctl.errors import InputError
from rsctl.plan.describe import describe

Declare = Callable[..., None]
SWEEP = tiny(dataset="imagenet", model="resnet50", certification={"max_images": 2})
COUNT = 6


@pytest.fixture
def val(chain: Chain, declare: Declare, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The first six validation images in a flat folder, as the archive unpacks them, beside their classes of training images."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(chain.folder / "cache"))
    monkeypatch.setattr("rsctl.cluster.local.backend.start_detached", lambda *_: None)
    classes = validation_classes()[:COUNT]
    declare("imagenet", size=32, classes=len(set(classes)), counts={"train": COUNT, "test": COUNT})
    root = chain.folder / "data" / "imagenet"
    for wnid in classes:
        (root / "train" / wnid).mkdir(parents=True)
        picture(root / "train" / wnid / f"{wnid}_1.JPEG")
    for number in range(1, COUNT + 1):
        picture(root / "val" / f"ILSVRC2012_val_{number:08}.JPEG")
    return root / "val"


def picture(path: Path) -> None:
    from PIL import Image

    path.parent.mkdir(exist_ok=True)
    Image.new(
        "RGB", (40, 40), (len(path.name), 7, int(path.stem[-3:]) if path.stem[-3:].isdigit() else 0)
    ).save(path, "JPEG")


def test_the_classes_are_those_of_the_challenge() -> None:
    classes = validation_classes()
    assert set(Counter(classes).values()) == {50}
    order = sorted(set(classes))
    assert len(order) == 1000
    # As printed by every model zoo for the first images.
    assert [order.index(wnid) for wnid in classes[:10]] == [65, 970, 230, 809, 516, 57, 334, 415, 674, 332]
    assert classes[0] == "n01751748"


def test_a_flat_validation_folder_is_seen_before_anything_runs_and_prepared(
    val: Path, chain: Chain, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = f"{val} has 6 images outside class folders: `rsctl data prepare imagenet`"
    assert run(["data", "list"]) == 0
    assert f"unprepared: ImageNet (ILSVRC 2012): {wrong}" in capsys.readouterr().out
    assert run(["data", "check", "imagenet"]) == 2
    assert wrong in capsys.readouterr().out
    assert wrong in describe(control.plan_file(chain.file(SWEEP), chain.place), chain.place).text
    (note,) = [
        n for n in control.submit(chain.file(SWEEP), chain.place).committed.notes if "class folder" in n
    ]
    assert wrong in note
    with pytest.raises(InputError, match="rsctl data prepare imagenet"):
        load("imagenet", {}, "test", chain.place.data)
    assert run(["data", "prepare", "imagenet"]) == 0
    assert (
        "6 images moved into class folders; 6 of 50,000 are present. 49,994 are missing"
        in capsys.readouterr().out
    )
    images = load("imagenet", {}, "test", chain.place.data)
    order = sorted({path.name for path in val.iterdir()})
    assert sorted(
        zip(images.labels.tolist(), [os.fsdecode(f).split("/")[2] for f in images.files], strict=True)
    ) == sorted(
        (order.index(wnid), f"ILSVRC2012_val_{number:08}.JPEG")
        for number, wnid in enumerate(validation_classes()[:COUNT], 1)
    )
    assert run(["data", "check", "imagenet"]) == 0
    assert "imagenet: 12 image files; all of them can be read" in capsys.readouterr().out
    assert run(["data", "prepare", "imagenet"]) == 0
    assert "0 images moved" in capsys.readouterr().out


def test_an_interrupted_preparation_goes_on(
    val: Path, chain: Chain, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real, moved = imagenet._move, []

    def interrupted(folder: Path, name: str, wnid: str) -> None:
        if len(moved) == 2:
            raise KeyboardInterrupt
        moved.append(name)
        real(folder, name, wnid)

    with monkeypatch.context() as first:
        first.setattr(imagenet, "_move", interrupted)
        assert run(["data", "prepare", "imagenet"]) == 130
    assert f"{val} has 4 images outside class folders" in imagenet.layout(chain.place.data, COUNT)
    assert run(["data", "prepare", "imagenet"]) == 0
    assert "4 images moved" in capsys.readouterr().out
    assert imagenet.layout(chain.place.data, COUNT) == ""


@pytest.mark.parametrize(
    "name",
    ["ILSVRC2012_val_00050001.JPEG", "ILSVRC2012_val_00000000.JPEG", "ILSVRC2012_test_00000001.JPEG", "cat.jpg",
     "ILSVRC2012_val_00000002_n01440764.JPEG", "ILSVRC2012_val_1.JPEG"],
)  # fmt: skip
def test_nothing_is_moved_where_an_image_is_not_of_the_validation_set(
    name: str, val: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture(val / name)
    assert run(["data", "prepare", "imagenet"]) == 2
    said = capsys.readouterr().err
    assert f"such as {name}" in said
    assert "Nothing was moved" in said
    assert len(list(val.iterdir())) == COUNT + 1
    (val / name).unlink()
    assert run(["data", "prepare", "imagenet"]) == 0


def test_links_and_names_with_their_class_are_moved_too(val: Path, chain: Chain) -> None:
    store = val.parent / "annex"
    store.mkdir()
    (val / "ILSVRC2012_val_00000001.JPEG").rename(store / "a")
    (val / "ILSVRC2012_val_00000001.JPEG").symlink_to("../annex/a")
    named = f"ILSVRC2012_val_00000002_{validation_classes()[1]}.JPEG"
    (val / "ILSVRC2012_val_00000002.JPEG").rename(val / named)
    assert run(["data", "prepare", "imagenet"]) == 0
    assert (val / validation_classes()[0] / "ILSVRC2012_val_00000001.JPEG").is_file()
    assert (val / validation_classes()[1] / named).is_file()
    assert len(load("imagenet", {}, "test", chain.place.data)) == COUNT


def archives(val: Path) -> None:
    for folder in list((val.parent / "train").iterdir())[:3]:
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
        (val.parent / "train" / f"{folder.name}.tar").write_bytes(b"x")


def other_classes(val: Path) -> None:
    assert run(["data", "prepare", "imagenet"]) == 0
    (val / validation_classes()[0]).rename(val / "n00000000")


def too_few_classes(val: Path) -> None:
    assert run(["data", "prepare", "imagenet"]) == 0
    (val / validation_classes()[0]).rename(val.parent / "away")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (archives, "has 6 images outside class folders"),
        (
            lambda val: (archives(val), run(["data", "prepare", "imagenet"])),
            r"3 archives such as n\d+\.tar: unpack",
        ),
        (other_classes, "class folders that .*train lacks, such as n00000000"),
        (too_few_classes, "val has 5 class folders, but ImageNet has 6"),
    ],
)
def test_other_layouts_are_told_apart(
    spoil: Callable[[Path], None], said: str, val: Path, chain: Chain
) -> None:
    spoil(val)
    with pytest.raises(InputError, match=said):
        load("imagenet", {}, "test", chain.place.data)


def test_what_cannot_be_prepared_says_why(val: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "prepare", "cifar10"]) == 2
    assert "only imagenet needs to be prepared" in capsys.readouterr().err
    (val / validation_classes()[0]).write_bytes(b"")  # a file where a folder has to be
    assert run(["data", "prepare", "imagenet"]) == 3
    assert "can't be moved" in capsys.readouterr().err
    val.rename(val.parent / "validation")
    assert run(["data", "prepare", "imagenet"]) == 2
    assert "tar xf ILSVRC2012_img_val.tar" in capsys.readouterr().err
