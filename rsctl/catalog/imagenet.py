"""ImageNet's folders: checks of their layout, and sorting of the validation images into class folders.

`imagenet_validation.txt.bz2` has the class (WordNet id) of the 50,000 validation images of ILSVRC 2012, a line each, in the order of
their numbers: the ground truth that the challenge published.
"""

from __future__ import annotations

import bz2
import os
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from rsctl.catalog.listing import entries_of, folders_in, kind_of
from rsctl.errors import InputError, UnavailableError
from rsctl.text import counted

LABELS = Path(__file__).with_name("imagenet_validation.txt.bz2")
NAME = re.compile(r"ILSVRC2012_val_(\d{8})(?:_(n\d{8}))?\.jpe?g", re.IGNORECASE)
PREPARE = "`rsctl data prepare imagenet` sorts it into class folders"


def layout(data_root: Path, classes: int) -> str:
    """Problems of the existing folders, with remedies; empty where there are none. No file is opened."""
    root = data_root / "imagenet"
    if not all((root / name).is_dir() for name in ("train", "val")):
        return ""  # missing folders are reported elsewhere
    inside = {name: entries_of(root / name) for name in ("train", "val")}
    flat = [e.name for e in inside["val"] if kind_of(e) == "file" and NAME.fullmatch(e.name)]
    if flat:
        return f"{root / 'val'} has {counted(len(flat), 'image')} outside class folders: {PREPARE}"
    folders = {
        name: {e.name for e in found if kind_of(e) == "folder" and not e.name.startswith(".")}
        for name, found in inside.items()
    }
    tars = [e.name for e in inside["train"] if e.name.endswith(".tar")]
    if tars and len(folders["train"]) < classes:
        return (
            f"{root / 'train'} has {counted(len(tars), 'archive')} such as {tars[0]}: unpack each into a folder of the same name "
            f"(cd {root / 'train'}; for f in *.tar; do mkdir -p ${{f%.tar}} && tar xf $f -C ${{f%.tar}}; done)"
        )
    for name, found in folders.items():
        if len(found) != classes:
            return f"{root / name} has {counted(len(found), 'class folder')}, but ImageNet has {classes:,}: use `imagefolder` for a part of it"
    if other := sorted(folders["val"] - folders["train"]):
        return f"{root / 'val'} has class folders that {root / 'train'} lacks, such as {other[0]}: labels would be wrong"
    return ""


def validation_classes() -> list[str]:
    """The class of each validation image, by its number from 1 on."""
    return bz2.decompress(LABELS.read_bytes()).decode("ascii").split()


def prepare(data_root: Path, advance: Callable[[int, int], None] = lambda done, total: None) -> str:
    """Move the validation images into their class folders; a repeated call continues an interrupted one.

    Nothing is moved unless every image that isn't in a class folder yet is named as ILSVRC 2012 names it. Returns what was done.
    """
    val = data_root / "imagenet" / "val"
    if not val.is_dir():
        raise InputError(
            f"{val} doesn't exist. Unpack ILSVRC2012_img_val.tar there (mkdir -p {val} && tar xf ILSVRC2012_img_val.tar -C {val}), or "
            "set RSCTL_DATA to the folder that has imagenet/val."
        )
    classes, moves, strange = validation_classes(), [], []
    for entry in entries_of(val):
        kind = kind_of(entry)
        match = NAME.fullmatch(entry.name)
        number = int(match[1]) if match else 0
        if (
            kind == "folder"
            or entry.name.startswith(".")
            or not entry.name.lower().endswith((".jpeg", ".jpg"))
        ):
            continue
        if kind != "file":
            strange.append(f"{entry.name} ({kind})")
        elif match is None or not 1 <= number <= len(classes) or match[2] not in (None, classes[number - 1]):
            strange.append(entry.name)
        else:
            moves.append((entry.name, classes[number - 1]))
    if strange:
        raise InputError(
            f"{val} has {counted(len(strange), 'image')} with names unknown to the validation set, such as {strange[0]}. Expected: "
            "ILSVRC2012_val_00000001.JPEG to ILSVRC2012_val_00050000.JPEG. Nothing was moved: move these away, or unpack the archive again."
        )
    for done, (name, wnid) in enumerate(moves, 1):
        _move(val, name, wnid)
        advance(done, len(moves))
    found = Counter(
        {name: sum(1 for _ in os.scandir(val / name)) for name in folders_in(val) if name in set(classes)}
    )
    missing = len(classes) - found.total()
    summary = f"{counted(len(moves), 'image')} moved into class folders; {found.total():,} of {len(classes):,} are present."
    return (
        summary
        if missing <= 0
        else f"{summary} {missing:,} are missing: unpack ILSVRC2012_img_val.tar again, then repeat this command."
    )


def _move(val: Path, name: str, wnid: str) -> None:
    source, target = val / name, val / wnid / name
    try:
        target.parent.mkdir(exist_ok=True)
        if target.is_file():
            raise InputError(
                f"{target} and {source} both exist. Remove one of them, then repeat this command."
            )
        if source.is_symlink() and not os.path.isabs(link := os.readlink(source)):
            # A relative link would break in a subfolder.
            target.symlink_to(os.path.join("..", link))
            source.unlink()
        else:
            source.rename(target)
    except OSError as error:
        raise UnavailableError(
            f"{source} can't be moved to {target} ({error.strerror}). Ask its owner to do it, or use your own copy of the folder."
        ) from error
