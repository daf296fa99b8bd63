"""Folders as public data sets come: the command that a message prints makes them ones that are taken."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from rsctl.catalog.datasets import ImageFolder
from rsctl.catalog.folders import inspect_folder
from rsctl.errors import InputError

ODD = "it's $HOME `x`"


def images(*folders: Path) -> None:
    for at, folder in enumerate(folders):
        folder.mkdir(parents=True)
        for number in range(2):
            Image.new("RGB", (4, 4), (40 * at, 9 * number, 0)).save(folder / f"{number}.png")


def split_as(train: str, test: str) -> Callable[[Path], None]:
    return lambda root: images(*(root / split / kind for split in (train, test) for kind in ("ant", "bee")))


def tiny_imagenet(root: Path) -> None:
    images(
        *(root / "train" / kind / "images" for kind in ("ant", "bee")),
        root / "val" / "images",
        root / "test" / "images",
    )
    (root / "val" / "val_annotations.txt").write_text("0.png\tbee\t0\t0\t3\t3\r\n1.png\tant\t0\t0\t3\t3\n")


def secret_test(root: Path) -> None:
    split_as("train", "valid")(root)
    images(root / "test")


COMMANDS: dict[str, Callable[[Path], None]] = {
    "train and val, as imagenette": split_as("train", "val"),
    "training and validation": split_as("training", "validation"),
    "capitals": split_as("Train", "Test"),
    "train_set and test_set": split_as("train_set", "test_set"),
    "tiny-imagenet": tiny_imagenet,
    "a test set whose classes are secret": secret_test,
}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_command_of_the_message_arranges_the_folder(name: str, tmp_path: Path) -> None:
    root = tmp_path / ODD
    COMMANDS[name](root)
    with pytest.raises(InputError, match="Run:\n") as caught:
        inspect_folder(tmp_path, ImageFolder(path=ODD))
    subprocess.run(["sh", "-ec", str(caught.value).partition("Run:\n")[2]], check=True)
    shape = inspect_folder(tmp_path, ImageFolder(path=ODD))
    assert shape.class_names == ("ant", "bee")
    assert shape.counts == {"train": 4, "test": 2 if name == "tiny-imagenet" else 4}
    if name == "tiny-imagenet":
        assert (root / "test/bee/0.png").is_file()
        assert (root / "test/ant/1.png").is_file()


def test_the_folder_meant_is_named(tmp_path: Path) -> None:
    split_as("train", "test")(tmp_path / "zip/zip")
    with pytest.raises(InputError, match="Its folder zip has them"):
        inspect_folder(tmp_path, ImageFolder(path="zip"))
    with pytest.raises(InputError, match=f"Set the folder above it, {tmp_path}/zip/zip"):
        inspect_folder(tmp_path, ImageFolder(path="zip/zip/train"))


def test_classes_without_splits_and_what_is_no_class(tmp_path: Path) -> None:
    images(tmp_path / "caltech/ant", tmp_path / "caltech/bee", tmp_path / "flowers/jpg")
    with pytest.raises(InputError, match="class folders but no splits: move some"):
        inspect_folder(tmp_path, ImageFolder(path="caltech"))
    with pytest.raises(InputError, match=r"and test/<class>/<image>\.$"):
        inspect_folder(tmp_path, ImageFolder(path="flowers"))


def test_a_class_that_only_the_test_has_is_no_matter_of_the_layout(tmp_path: Path) -> None:
    split_as("train", "test")(tmp_path)
    images(tmp_path / "test/cat", tmp_path / "val/ant")
    with pytest.raises(InputError, match=r"lacks: cat\. Remove them, or name in dataset.classes"):
        inspect_folder(tmp_path, ImageFolder(path="."))
