"""Published checkpoints: every layout, made from networks of our own, and what must be refused."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections import OrderedDict
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from jobs.data import Images, load
from jobs.models import build_model
from jobs.models.published import accuracy, assemble, judge, least, read_weights, recognise
from rsctl.catalog import find, known_datasets
from rsctl.catalog.declare import DataShape
from rsctl.errors import InputError, RefusedError

CIFAR = DataShape(3, 32, 10, {"train": 50_000, "test": 10_000})
IMAGENET = DataShape(3, 224, 1000, {"train": 1_281_167, "test": 50_000})
CPU = torch.device("cpu")


def dataset(name: str) -> Any:
    return find("data set", name, known_datasets())


@cache
def network(name: str = "resnet20", shape: DataShape = CIFAR) -> nn.Module:
    torch.manual_seed(0)
    model = build_model(
        name, {}, dataset=dataset("imagenet" if shape is IMAGENET else "cifar10"), shape=shape
    )
    for layer in model.modules():  # statistics that matter
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_(std=0.1)
            layer.running_var.uniform_(0.5, 1.5)
    return model[1].eval()


def prefixed(prefix: str, model: nn.Module | None = None) -> OrderedDict[str, Tensor]:
    return OrderedDict((prefix + k, v) for k, v in (model or network()).state_dict().items())


def kuangliu(name: str) -> str:
    return name.replace("downsample", "shortcut").replace("fc.", "linear.")


LAYOUTS: dict[str, tuple[Any, str]] = {
    "cohen cifar": ({"epoch": 90, "arch": "cifar_resnet20", "state_dict": prefixed("1."), "optimizer": {"state": {}}}, "dataset"),
    "cohen imagenet": ({"epoch": 90, "arch": "resnet50", "state_dict": prefixed("1.module.")}, "dataset"),
    "macer": ({"net": prefixed(""), "epoch": 440}, "none"),
    "bare": (prefixed(""), "dataset"),
    "bare, parallel": (prefixed("module."), "dataset"),
    "parallel outside": ({"state_dict": prefixed("module.1.")}, "dataset"),
    "other names": ({"net": OrderedDict((kuangliu(k), v) for k, v in prefixed("module.").items()), "acc": 95.0}, "none"),
    "before counters": ({k: v for k, v in prefixed("1.").items() if "num_batches" not in k}, "dataset"),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_gives_the_same_function(name: str, tmp_path: Path) -> None:
    stored, normalisation = LAYOUTS[name]
    file = tmp_path / "checkpoint.pth.tar"
    torch.save(stored, file, _use_new_zipfile_serialization=name != "cohen cifar")  # the old format too
    weights = read_weights(file)
    assert weights.normalisation == normalisation
    assert weights.why
    assert recognise(weights, dataset("cifar10"), CIFAR) == ("resnet20", {})
    model = assemble(weights, "resnet20", {}, normalisation, dataset("cifar10"), CIFAR)
    x = torch.rand(2, 3, 32, 32)
    seen = (x - torch.tensor([0.4914, 0.4822, 0.4465])[:, None, None]) / torch.tensor([0.2023, 0.1994, 0.2010])[
        :, None, None
    ]  # fmt: skip
    expected = network()(seen if normalisation == "dataset" else x)
    assert torch.allclose(model(x), expected, atol=1e-5)
    assert not torch.allclose(network()(seen), network()(x), atol=1e-2)


def test_mean_only_centring() -> None:
    centred = assemble(read_from(prefixed("1.")), "resnet20", {}, "centre", dataset("cifar10"), CIFAR)
    x = torch.rand(2, 3, 32, 32)
    expected = network()(x - torch.tensor([0.4914, 0.4822, 0.4465])[:, None, None])
    assert torch.allclose(centred(x), expected, atol=1e-5)


def read_from(stored: Any, folder: Path | None = None) -> Any:
    import tempfile

    with tempfile.TemporaryDirectory() as made:
        file = Path(made) / "c.pt"
        torch.save(stored, file)
        return read_weights(file)


@pytest.mark.parametrize("name", ["resnet20", "resnet110", "resnet18", "resnet34"])
def test_architectures_are_told_apart_by_their_layers(name: str) -> None:
    weights = read_from(prefixed("1.", network(name)))
    assert recognise(weights, dataset("cifar10"), CIFAR) == (name, {})


def test_torchvision_weights_are_resnet50s_and_no_cifar_network() -> None:
    from torchvision.models import resnet18, resnet50

    weights = read_from(resnet50(weights=None).state_dict())
    assert recognise(weights, dataset("imagenet"), IMAGENET) == ("resnet50", {})
    with pytest.raises(
        InputError, match=r"fit no architecture .*fc.weight has shape \(1000, 2048\) and not \(10, 2048\)"
    ):
        recognise(weights, dataset("cifar10"), CIFAR)
    # The 7x7 stem of the ImageNet ResNet-18 isn't that of small images.
    with pytest.raises(InputError, match=r"conv1.weight has shape \(64, 3, 7, 7\)"):
        recognise(read_from(resnet18(weights=None).state_dict()), dataset("imagenet"), IMAGENET)
    with pytest.raises(
        InputError, match="--arch: the weights aren't those of resnet110: 410 entries are missing"
    ):
        recognise(weights, dataset("imagenet"), IMAGENET, "resnet110")


def test_a_pickle_that_wants_more_is_refused_and_its_way_to_convert_it_works(tmp_path: Path) -> None:
    file = tmp_path / "best.pt"
    torch.save({"args": argparse.Namespace(lr=0.1), "state_dict": prefixed("1.")}, file)
    with pytest.raises(InputError, match=r"argparse.Namespace\); loading it would run code") as caught:
        read_weights(file)
    command = str(caught.value).splitlines()[-1]
    assert command.startswith("python -c ")
    done = subprocess.run(
        command.replace("python", sys.executable, 1), shell=True, cwd=tmp_path, capture_output=True
    )
    assert done.returncode == 0, done.stderr
    assert read_weights(tmp_path / "best.weights.pt").layout == "{state_dict} with keys '1.…'"


@pytest.mark.parametrize(
    ("stored", "said"),
    [
        (None, "can't be read"),
        (b"no checkpoint", "is no checkpoint that PyTorch can read"),
        (torch.zeros(3), "holds a Tensor, not weights by name"),
        (
            {"epoch": 3, "optimizer": {}},
            "holds no weights by name. Looked under state_dict, net.*there are: epoch, optimizer",
        ),
        ({}, "there are: .nothing"),
    ],
)
def test_what_is_no_checkpoint_is_named(stored: Any, said: str, tmp_path: Path) -> None:
    file = tmp_path / "c.pt"
    if isinstance(stored, bytes):
        file.write_bytes(stored)
    elif stored is not None:
        torch.save(stored, file)
    with pytest.raises(InputError, match=said):
        read_weights(file)


@cache
def digits() -> tuple[Images, dict[str, Tensor]]:
    """A test set and a network that was trained to see images as they are, shifted by 2: it minds what it is shown."""
    train, test = (load("digits", {}, split, Path("/nowhere")) for split in ("train", "test"))
    torch.manual_seed(0)
    model = build_model("cnn", {"width": 4}, dataset=dataset("digits"), shape=test.shape)[1]
    optimiser = torch.optim.Adam(model.parameters(), 0.01)
    pixels, labels = train.batch(torch.arange(len(train)))
    for _ in range(120):
        rows = torch.randint(len(train), (128,))
        loss = nn.functional.cross_entropy(model(pixels[rows] / 255 - 2), labels[rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return test, model.state_dict()


def shifted(mean: float) -> Any:
    """Digits with a normalisation of their own, so that 'dataset', 'centre' and 'none' differ."""
    from dataclasses import replace

    return replace(dataset("digits"), mean=(mean,), std=(30.0,))


def test_the_wrong_normalisation_is_refused_with_the_one_that_fits() -> None:
    images, state = digits()
    weights = read_from(OrderedDict((f"1.{k}", v) for k, v in state.items()))
    assert recognise(weights, shifted(2.0), images.shape) == ("cnn", {"width": 4})

    def judged(normalisation: str, mean: float = 2.0, **changes: Any) -> Any:
        return judge(weights, "cnn", {"width": 4}, normalisation, shifted(mean), images, 0.1, CPU, **changes)

    model, found = judged("centre")
    assert found["centre"].clean > 0.8
    assert found["centre"] == accuracy(model, images, 0.1, CPU)
    for wrong in ("dataset", "none"):
        with pytest.raises(
            RefusedError,
            match=f"'{wrong}' this cnn classifies .*; with 'centre' 9?.*Say normalisation 'centre'",
        ):
            judged(wrong)
        assert judged(wrong, anyway=True)[1][wrong].best < found["centre"].best
    # None of them fits: labels in another order look like this too.
    with pytest.raises(
        RefusedError, match="at least 28% on one of them are asked for; the other normalisations do no better"
    ):
        judged("none", mean=-2.0)
    judged("none", mean=-2.0, anyway=True)


def test_the_threshold_lies_between_chance_and_every_useful_model() -> None:
    assert least(10) == pytest.approx(0.28)
    assert least(2) == pytest.approx(0.6)
    assert least(1000) == pytest.approx(
        0.2, abs=0.001
    )  # ResNet-50 of Cohen 2019 at sigma = 1: 44 % under noise
