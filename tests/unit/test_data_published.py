"""Published data sets: small real files in torchvision's formats, read through the same code as the real ones, and their download."""

from __future__ import annotations

import gzip
import hashlib
import pickle
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import torch
from torchvision import datasets

from jobs.data import fetch, load
from rsctl import catalog
from rsctl.catalog.shape import shape_of
from rsctl.errors import InputError, UnavailableError

Declare = Callable[..., None]
RNG = np.random.default_rng(0)


TRAIN, TEST = 6, 4


def write_mnist(raw: Path, train: np.ndarray, test: np.ndarray, labels: dict[str, np.ndarray]) -> None:
    raw.mkdir(parents=True)
    for part, split, images in (("train", "train", train), ("t10k", "test", test)):
        header = np.array([0x803, *images.shape], ">i4").tobytes()
        (raw / f"{part}-images-idx3-ubyte").write_bytes(header + images.tobytes())
        header = np.array([0x801, len(images)], ">i4").tobytes()
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(header + labels[split].astype(np.uint8).tobytes())


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def write_cifar(root: Path, maker: Any, images: dict[str, np.ndarray], labels: dict[str, np.ndarray],
                monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    """The pickles of CIFAR, with torchvision told their checksums: it verifies every file."""
    folder, key = root / maker.base_folder, "labels" if maker is datasets.CIFAR10 else "fine_labels"
    folder.mkdir(parents=True)
    files = {"train": ["part_1", "part_2"], "test": ["held"]}
    for split, names in files.items():
        for name, pixels, answers in zip(
            names,
            np.array_split(images[split], len(names)),
            np.array_split(labels[split], len(names)),
            strict=True,
        ):
            rows = pixels.transpose(0, 3, 1, 2).reshape(len(pixels), -1)
            (folder / name).write_bytes(pickle.dumps({"data": rows, key: answers.tolist()}))
        monkeypatch.setattr(maker, f"{split}_list", [[name, md5(folder / name)] for name in names])
    classes = maker.meta["key"]
    (folder / "meta").write_bytes(pickle.dumps({classes: [str(i) for i in range(100)]}))
    monkeypatch.setattr(maker, "meta", {"filename": "meta", "key": classes, "md5": md5(folder / "meta")})


@pytest.fixture
def small_sets(
    tmp_path: Path, declare: Declare, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], dict[str, Any]]:
    """Writes a data set of 6 + 4 images below tmp_path; gives the pixels (N, H, W, C) and labels that must come back."""

    def write(name: str) -> dict[str, Any]:
        declare(name, counts={"train": TRAIN, "test": TEST})
        declared = catalog.known_datasets()[name]
        side, channels, counts = declared.size, declared.channels, {"train": TRAIN, "test": TEST}
        images = {s: RNG.integers(0, 256, (n, side, side, channels), np.uint8) for s, n in counts.items()}
        labels = {s: RNG.permutation(declared.classes)[:n] for s, n in counts.items()}
        labels["train"][0] = 0
        if name in ("mnist", "fashion-mnist"):
            raw = tmp_path / {"mnist": "MNIST", "fashion-mnist": "FashionMNIST"}[name] / "raw"
            write_mnist(raw, images["train"][..., 0], images["test"][..., 0], labels)
        elif name == "svhn":
            entries = {}
            for split in counts:
                file = tmp_path / f"{split}_32x32.mat"
                answers = np.where(labels[split] == 0, 10, labels[split])  # SVHN calls the digit 0 class 10
                scipy.io.savemat(file, {"X": images[split].transpose(1, 2, 3, 0), "y": answers[:, None]})
                entries[split] = ["", file.name, md5(file)]
            monkeypatch.setattr(datasets.SVHN, "split_list", entries)
        else:
            maker = datasets.CIFAR10 if name == "cifar10" else datasets.CIFAR100
            write_cifar(tmp_path, maker, images, labels, monkeypatch)
        return {"images": images, "labels": labels}

    return write


TORCHVISION = ("mnist", "fashion-mnist", "svhn", "cifar10", "cifar100")


@pytest.mark.parametrize("name", TORCHVISION)
@pytest.mark.parametrize("split", ["train", "test"])
def test_published_files_come_back_as_uint8_images(
    name: str, split: str, tmp_path: Path, small_sets: Any
) -> None:
    written = small_sets(name)
    images = load(name, {}, split, tmp_path)
    assert images.pixels.dtype == torch.uint8
    assert np.array_equal(images.pixels.numpy(), written["images"][split].transpose(0, 3, 1, 2))
    assert images.labels.dtype == torch.int64
    assert images.labels.tolist() == written["labels"][split].tolist()
    assert images.shape == shape_of(name, {}, tmp_path)
    part = load(name, {}, split, tmp_path, positions=[3, 1])
    assert torch.equal(part.pixels, images.pixels[[3, 1]])
    assert part.fingerprint == images.fingerprint


def test_the_fingerprint_follows_pixels_and_labels(tmp_path: Path, small_sets: Any) -> None:
    small_sets("mnist")
    before = load("mnist", {}, "test", tmp_path).fingerprint
    for file, offset in (("t10k-images-idx3-ubyte", 16), ("t10k-labels-idx1-ubyte", 8)):
        path = tmp_path / "MNIST" / "raw" / file
        content = bytearray(path.read_bytes())
        content[offset] = (content[offset] + 1) % 10
        path.write_bytes(content)
        after = load("mnist", {}, "test", tmp_path).fingerprint
        assert after != before
        before = after


@pytest.mark.parametrize("name", TORCHVISION)
def test_a_missing_set_says_what_to_put_where(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        load(name, {}, "test", tmp_path)
    message = str(caught.value)
    assert str(tmp_path) in message
    assert catalog.known_datasets()[name].where in message
    assert f"rsctl data fetch {name}" in message
    assert "no internet" in message
    assert "download=True" not in message


@pytest.mark.parametrize(
    ("name", "file", "damage"),
    [
        ("mnist", "MNIST/raw/t10k-images-idx3-ubyte", lambda content: content[:-100]),
        ("mnist", "MNIST/raw/t10k-labels-idx1-ubyte", lambda content: b""),
        ("cifar10", "cifar-10-batches-py/held", lambda content: content[:-10]),
        ("svhn", "test_32x32.mat", lambda content: content[: len(content) // 2]),
    ],
)
def test_a_damaged_file_is_named_with_its_set(
    name: str, file: str, damage: Callable[[bytes], bytes], tmp_path: Path, small_sets: Any
) -> None:
    small_sets(name)
    path = tmp_path / file
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match=f"{name} isn't complete and readable"):
        load(name, {}, "test", tmp_path)


def test_fewer_images_than_declared_are_an_incomplete_set(
    tmp_path: Path, small_sets: Any, declare: Declare
) -> None:
    small_sets("mnist")
    declare("mnist", counts={"train": TRAIN, "test": TEST + 1})
    with pytest.raises(InputError, match="files are incomplete"):
        load("mnist", {}, "test", tmp_path)


def test_labels_outside_the_classes_are_refused(tmp_path: Path, small_sets: Any, declare: Declare) -> None:
    small_sets("mnist")
    declare("mnist", counts={"train": TRAIN, "test": TEST}, classes=2)
    with pytest.raises(InputError, match="2 classes are declared"):
        load("mnist", {}, "test", tmp_path)


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """MNIST's files on a server of this machine."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None: ...

    files = tmp_path / "server"
    files.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(files)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(datasets.MNIST, "mirrors", [f"http://127.0.0.1:{server.server_port}/"])
    yield files
    server.shutdown()
    server.server_close()


def test_fetch_downloads_what_load_then_reads(
    tmp_path: Path,
    small_sets: Any,
    served: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    written = small_sets("mnist")
    resources = []
    for file in sorted((tmp_path / "MNIST" / "raw").iterdir()):
        packed = served / f"{file.name}.gz"
        packed.write_bytes(gzip.compress(file.read_bytes()))
        resources.append((packed.name, md5(packed)))
    monkeypatch.setattr(datasets.MNIST, "resources", resources)
    root = tmp_path / "made" / "on the way"
    assert fetch.main(["mnist", str(root)]) == 0
    assert load("mnist", {}, "train", root).labels.tolist() == written["labels"]["train"].tolist()
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", TORCHVISION)
def test_without_a_network_fetch_says_so(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise urllib.error.URLError("Network is unreachable")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    with pytest.raises(UnavailableError, match="no internet"):
        fetch.fetch(name, tmp_path)


def test_fetch_of_what_cannot_be_fetched(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match=r"imagenet/train/<wnid>"):
        fetch.fetch("imagenet", tmp_path)
    with pytest.raises(InputError, match="nothing to fetch"):
        fetch.fetch("digits", tmp_path)
    assert fetch.main(["minst", str(tmp_path)]) == 2
    assert "Did you mean 'mnist'" in capsys.readouterr().err
