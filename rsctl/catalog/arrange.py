"""Commands that rearrange folders of images as train/<class> and test/<class>."""

from __future__ import annotations

import shlex
from pathlib import Path

from rsctl.catalog.listing import EXTENSIONS, alike, entries_of, folders_in, kind_of

NAMED = {
    "train": ("train", "training", "train_set", "training_set", "trainset"),
    "test": ("test", "val", "valid", "validation", "testing", "dev", "test_set", "validation_set", "testset", "eval"),
}  # fmt: skip
"""Names of the training and the labelled test split in public data sets, the usual first."""
ANNOTATIONS = "val_annotations.txt"
"""File beside tiny-imagenet's validation images: per line an image's name, class and box, separated by tabs."""


def how_to(root: Path) -> str:
    """The command that gives a folder class folders in `train` and `test`; empty where none can be derived."""
    present = folders_in(root)
    steps = [step for split in NAMED if (step := _split(root, split, present))]
    if steps:
        return f"Run:\n{' && '.join(steps)}"
    if all(name in present for name in NAMED):
        return ""
    for name in present:
        inside = folders_in(root / name) if not name.startswith(".") else []
        if all(any(known in map(str.lower, inside) for known in names) for names in NAMED.values()):
            return f"Its folder {name} has them: set that as the path."
    if root.name.lower() in NAMED["train"] + NAMED["test"] and _classes(root.parent) >= set(NAMED):
        return f"Set the folder above it, {root.parent}, as the path."
    if (
        "train" not in present
        and "test" not in present
        and sum(_has_images(root / name) for name in present) > 1
    ):
        return (
            f"{root} has class folders but no splits: move some images of each class to {root / 'test'}/<class>/, and the others to "
            f"{root / 'train'}/<class>/."
        )
    return ""


def _split(root: Path, split: str, present: list[str]) -> str:
    """The commands that create a split; empty where it has class folders already, or no folder can serve as it."""
    place, train = root / split, root / "train"
    if split in present and (split == "train" or _classes(place) & _classes(train) or not _classes(train)):
        return ""
    found = {name.lower(): name for name in present if name != split}
    source = next((found[name] for name in NAMED[split] if name in found), None)
    if source is None:
        return ""
    # A `test` folder without class folders is a challenge's, with secret labels.
    aside = (
        [f"mv {_quoted(place)} {_quoted(root / (split + '.without-classes'))}"] if split in present else []
    )
    if (root / source / ANNOTATIONS).is_file() and (root / source / "images").is_dir():
        sort = (
            f"(cd {_quoted(root / source)} && cut -f 1,2 {ANNOTATIONS} | tr -d '\\r' | while read -r f c; do "
            'mkdir -p "$c" && mv "images/$f" "$c/" || exit 1; done && rmdir images)'
        )
        return " && ".join([*aside, sort, f"ln -s {_quoted(Path(source))} {_quoted(place)}"])
    if aside and not _classes(root / source) & _classes(train):
        return ""
    return " && ".join([*aside, f"ln -s {_quoted(Path(source))} {_quoted(place)}"])


def _classes(place: Path) -> set[str]:
    return (
        {alike(name) for name in folders_in(place) if not name.startswith(".")} if place.is_dir() else set()
    )


def _has_images(place: Path) -> bool:
    return any(kind_of(one) == "file" and one.name.lower().endswith(EXTENSIONS) for one in entries_of(place))


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))
