"""The project's own data sets, read from where torchvision, scikit-learn and users keep them.

`read` is what the module named by a data set's declaration has to offer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jobs.data.decode import centre_crop, decode_each, read_image
from jobs.data.images import ArrayImages, FileImages, Images
from jobs.data.memory_limit import too_large
from rsctl.catalog.datasets import ImageFolder
from rsctl.catalog.declare import DataSet, DataShape
from rsctl.catalog.depth import deep_files
from rsctl.catalog.folders import contents, folder_root, image_files
from rsctl.catalog.holdout import fixed_permutation
from rsctl.catalog.listing import folders_in
from rsctl.catalog.presence import incomplete, misplaced
from rsctl.errors import InputError

IMAGENET_RESIZE = 256 / 224
TORCHVISION = {
    "mnist": "MNIST",
    "fashion-mnist": "FashionMNIST",
    "svhn": "SVHN",
    "cifar10": "CIFAR10",
    "cifar100": "CIFAR100",
}


def read(
    dataset: DataSet,
    parameters: Any,
    split: str,
    data_root: Path,
    shape: DataShape,
    positions: Sequence[int] | None,
) -> Images:
    """The images of `split` at `positions` (None: all), as `jobs.data.load` describes them."""
    if dataset.name == "imagefolder":
        return read_folder(parameters, split, folder_root(data_root, parameters.path), shape, positions)
    if dataset.name == "imagenet":
        return read_imagenet(dataset, split, data_root / "imagenet", shape, positions)
    if dataset.name == "digits":
        pixels, labels = digits(split)
    else:
        pixels, labels = torchvision_arrays(dataset, split, data_root)
    return from_arrays(pixels, labels, shape, dataset.name, split, positions)


def from_arrays(
    pixels: Tensor, labels: Tensor, shape: DataShape, name: str, split: str, positions: Sequence[int] | None
) -> ArrayImages:
    """Images from a whole split: uint8 (N, C, H, W) and int64 (N,); raises InputError where these aren't of the declared shape."""
    if pixels.dtype != torch.uint8:
        raise InputError(
            f"The {split} split of {name} holds {str(pixels.dtype).removeprefix('torch.')} values, not 8 bits a channel: its files are of "
            "another data set, or were changed. Fetch them again."
        )
    expected = (shape.counts[split], shape.channels, shape.size, shape.size)
    if tuple(pixels.shape) != expected or len(labels) != len(pixels):
        raise InputError(
            f"The {split} split of {name} has {len(labels)} labels and images of shape {tuple(pixels.shape)}, "
            f"not {expected}: its files are incomplete or of another data set. Fetch them again."
        )
    if not 0 <= int(labels.min()) <= int(labels.max()) < shape.classes:
        raise InputError(
            f"The {split} split of {name} has labels {int(labels.min())} to {int(labels.max())}; "
            f"{shape.classes} classes are declared."
        )
    content = hashlib.sha256(repr(expected).encode())
    content.update(pixels.contiguous().numpy().data)
    content.update(labels.contiguous().numpy().data)
    if positions is not None:
        rows = torch.as_tensor(positions, dtype=torch.int64)
        pixels, labels = pixels[rows], labels[rows]
    return ArrayImages(pixels, labels, shape, content.hexdigest(), positions)


def digits(split: str) -> tuple[Tensor, Tensor]:
    """scikit-learn's 1,797 digits, 8x8 in 17 grey levels, as uint8 (N, 1, 8, 8) and int64 (N,).

    Test images are the first 360 of a fixed permutation of the original order, training images the other 1,437;
    the original order goes by writer, so neighbours look alike.
    """
    rows = _digit_rows()
    levels, labels = rows[:, :-1], rows[:, -1]
    order = fixed_permutation(len(labels), seed=0)
    chosen = order[:360] if split == "test" else order[360:]
    pixels = np.rint(levels * (255 / 16)).astype(np.uint8).reshape(-1, 1, 8, 8)
    return torch.from_numpy(pixels[chosen]), torch.from_numpy(labels[chosen].astype(np.int64))


def _digit_rows() -> NDArray[np.float64]:
    """(1797, 65): levels 0 to 16 of the pixels, and the label.

    The file is read where it lies, for importing scikit-learn takes as long as the training of a small model.
    """
    package = find_spec("sklearn")
    if package and package.origin:
        file = Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
        if file.is_file():
            return np.loadtxt(file, delimiter=",")
    from sklearn.datasets import load_digits

    return np.column_stack(load_digits(return_X_y=True))


def open_torchvision(name: str, split: str, data_root: Path, *, download: bool) -> Any:
    """torchvision's own object for a split; whatever it raises when files are missing or damaged."""
    from torchvision import datasets

    maker = getattr(datasets, TORCHVISION[name])
    if name == "svhn":
        return maker(str(data_root), split=split, download=download)
    return maker(str(data_root), train=split == "train", download=download)


def torchvision_arrays(dataset: DataSet, split: str, data_root: Path) -> tuple[Tensor, Tensor]:
    """A small set as torchvision stores it, as uint8 (N, C, H, W) and int64 (N,). Never downloads; raises InputError."""
    try:
        stored = open_torchvision(dataset.name, split, data_root, download=False)
    except Exception as error:  # torchvision and the formats below it raise all sorts
        reason = str(error).partition(". You can use")[0]  # torchvision's advice is for its own callers
        raise InputError(
            f"{incomplete(dataset, data_root, reason)} Compute nodes have no internet: run `rsctl data fetch {dataset.name}` where "
            "there is some, or set RSCTL_DATA to the folder that has it; then 'rsctl retry'."
        ) from error
    pixels = torch.as_tensor(stored.data)
    labels = torch.as_tensor(stored.labels if dataset.name == "svhn" else stored.targets, dtype=torch.int64)
    if pixels.ndim == 3:
        pixels = pixels.unsqueeze(1)
    elif dataset.name != "svhn":
        pixels = pixels.permute(0, 3, 1, 2).contiguous()
    return pixels, labels


def listing_fingerprint(
    files: Sequence[tuple[str, int, int]], size: int, root: Path, folder: ImageFolder | None = None
) -> str:
    """SHA-256 over (path, label, bytes) of every image, what is in those of uncompressed formats, the side they are brought to,
    and what of `folder` or of their depth says that they aren't read as most are."""
    content = hashlib.sha256(f"{size}\n".encode())
    for file, label, length in files:
        content.update(f"{file}\0{label}\0{length}\n".encode("utf-8", "surrogateescape"))
    for digest in contents(root, files):
        content.update(f"{digest}\n".encode())
    if folder is not None:
        for file in (name for name, depth in deep_files(root, files).items() if not depth.colours):
            content.update(f"deep {file} {folder.white}\n".encode("utf-8", "surrogateescape"))
        if folder.orientation != "stored":
            content.update(f"{folder.orientation}\n".encode())
    return content.hexdigest()


def read_folder(
    parameters: ImageFolder, split: str, root: Path, shape: DataShape, positions: Sequence[int] | None
) -> Images:
    """An `imagefolder`: the chosen files, shorter side to `size`, centre crop; in memory, or from their files where they don't fit."""
    files = image_files(root, split, shape.class_names)
    chosen = files if positions is None else [files[position] for position in positions]
    names, labels = [file for file, _, _ in chosen], [label for _, label, _ in chosen]
    fingerprint = listing_fingerprint(files, shape.size, root, parameters)
    if refusal := too_large(shape.held_bytes(len(chosen))):
        print(f"images are read from their files: {refusal}", flush=True)
        return FileImages(root, names, labels, shape, fingerprint, shape.size, positions, parameters)
    pixels = np.empty((len(chosen), 3, shape.size, shape.size), dtype=np.uint8)

    def decode(row: int) -> None:
        with read_image(root / names[row], parameters) as image:
            pixels[row] = centre_crop(image, shape.size, shape.size).transpose(2, 0, 1)

    decode_each(len(chosen), sum(length for _, _, length in chosen) / max(1, len(chosen)), decode)
    return ArrayImages(
        torch.from_numpy(pixels), torch.tensor(labels, dtype=torch.int64), shape, fingerprint, positions
    )


def read_imagenet(
    dataset: DataSet, split: str, root: Path, shape: DataShape, positions: Sequence[int] | None
) -> FileImages:
    """ImageNet's folders, decoded on demand; its test split is the validation folder, whose labels are public."""
    folder = "train" if split == "train" else "val"
    place = (
        f"Expected: {dataset.where}; class folders are sorted by name. Set RSCTL_DATA if they lie elsewhere."
    )
    if not (root / folder).is_dir():
        raise InputError(f"dataset: {root / folder} is missing. {place}")
    if wrong := misplaced(dataset, root.parent):
        raise InputError(f"dataset: {wrong}. {place}")
    names = tuple(name for name in folders_in(root / folder) if not name.startswith("."))
    if len(names) != shape.classes:
        raise InputError(
            f"dataset: {root / folder} has {len(names)} class folders, ImageNet has {shape.classes}. {place}"
        )
    files = image_files(root, folder, names)
    if len(files) != shape.counts[split]:
        raise InputError(
            f"dataset: {root / folder} has {len(files)} images, not {shape.counts[split]}. {place}"
        )
    chosen = files if positions is None else [files[position] for position in positions]
    paths, labels = [file for file, _, _ in chosen], [label for _, label, _ in chosen]
    fingerprint, side = listing_fingerprint(files, shape.size, root), round(shape.size * IMAGENET_RESIZE)
    return FileImages(root, paths, labels, shape, fingerprint, side, positions)
