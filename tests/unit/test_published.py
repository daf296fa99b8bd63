"""Published checkpoints: every layout, made from networks of our own, and what must be refused."""

from __future__ import annotations

import argparse
import subprocess
import sys
import types
from collections import OrderedDict
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from jobs.checkpoints.formats import read_weights
from jobs.checkpoints.generic_layers import assumptions
from jobs.checkpoints.judge import accuracy_of, answers, candidates, judge, least
from jobs.checkpoints.recognise import assemble, recognise
from jobs.data import Images, load
from jobs.models import build_model
from rsctl.catalog import find, known_datasets
from rsctl.catalog.checkpoints import normalisation
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
    "other names": ({"net": OrderedDict((kuangliu(k), v) for k, v in prefixed("module.").items()), "acc": 95.0}, "dataset"),
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
        InputError,
        match=r"fit none of the known architectures .*fc.weight has shape \(1000, 2048\) and not \(10, 2048\)",
    ):
        recognise(weights, dataset("cifar10"), CIFAR)
    # The 7x7 stem of the ImageNet ResNet-18 isn't that of small images.
    with pytest.raises(InputError, match=r"conv1.weight has shape \(64, 3, 7, 7\)"):
        recognise(read_from(resnet18(weights=None).state_dict()), dataset("imagenet"), IMAGENET)
    with pytest.raises(
        InputError, match="--arch: the weights aren't those of resnet110: 410 entries are missing"
    ):
        recognise(weights, dataset("imagenet"), IMAGENET, "resnet110")


def with_options(file: Path) -> None:
    torch.save({"args": argparse.Namespace(log=np.zeros(2)), "state_dict": prefixed("1.")}, file)


def with_a_program(file: Path) -> None:
    wrapped = nn.Sequential(nn.Identity(), network())
    torch.jit.trace(wrapped, torch.zeros(1, 3, 32, 32)).save(str(file))


@pytest.mark.filterwarnings("ignore:.*torch.jit")
@pytest.mark.parametrize(
    ("save", "said", "layout"),
    [
        (
            with_options,
            r"numpy.*\); loading it would run code.* a file of their own:\n",
            "{args, state_dict} with keys '1.…'",
        ),
        (with_a_program, "TorchScript program, not weights", "a bare state dict with keys '1.…'"),
    ],
)
def test_a_file_that_wants_more_is_refused_and_its_way_to_convert_it_works(
    save: Callable[[Path], None], said: str, layout: str, tmp_path: Path
) -> None:
    file = tmp_path / "best.pt"
    save(file)
    with pytest.raises(InputError, match=said) as caught:
        read_weights(file)
    command = str(caught.value).splitlines()[-1]
    assert command.startswith("python -c ")
    done = subprocess.run(
        command.replace("python", sys.executable, 1), shell=True, cwd=tmp_path, capture_output=True
    )
    assert done.returncode == 0, done.stderr
    assert read_weights(tmp_path / "best.weights.pt").layout == layout


@pytest.mark.parametrize(
    ("package", "where"),
    [
        ("their_models", "where its authors' code with 'their_models' is"),
        ("__main__", "in the script that defined it"),
    ],
)
def test_a_pickled_network_of_someones_own_code_says_where_it_can_be_read(
    package: str, where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = types.ModuleType(package)
    code.Net = type("Net", (nn.Linear,), {"__module__": package})  # type: ignore[attr-defined]
    with monkeypatch.context() as there:
        there.setitem(sys.modules, package, code)
        torch.save(code.Net(2, 2), tmp_path / "c.pt")
    with pytest.raises(InputError, match=rf"\({package}.Net\).*, {where}:\n"):
        read_weights(tmp_path / "c.pt")


@pytest.mark.parametrize("kind", [np.float64, np.float32])
def test_an_accuracy_may_be_a_number_of_numpys(kind: Any) -> None:
    assert read_from({"state_dict": prefixed("1."), "best_prec1": kind(43.25)}).claim == (
        "best_prec1",
        0.4325,
    )


def test_no_other_object_of_numpys_is_taken(tmp_path: Path) -> None:
    torch.save({"state_dict": prefixed("1."), "log": np.array([{}], dtype=object)}, tmp_path / "c.pt")
    with pytest.raises(InputError, match=r"holds Python objects besides weights \(numpy\."):
        read_weights(tmp_path / "c.pt")


@pytest.mark.filterwarnings("ignore:.*quantize")
def test_a_quantised_network_is_named_and_nothing_is_printed(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    stored = {"0.weight": torch.quantize_per_tensor(torch.ones(2, 2), 0.1, 0, torch.qint8), "0.scale": 3}
    torch.save(stored, tmp_path / "c.pt")
    recwarn.clear()
    with pytest.raises(InputError, match=r"quantised network \(torch.qint8\).*floating-point weights"):
        read_weights(tmp_path / "c.pt")
    assert not recwarn.list


@pytest.mark.parametrize(
    ("stored", "said"),
    [
        (None, "can't be read"),
        (b"no checkpoint", "a checkpoint that PyTorch can read"),
        (torch.zeros(3), "holds a Tensor, not weights by name"),
        (
            {"epoch": 3, "optimizer": {}},
            "holds no weights by name. Searched state_dict, net.*its keys are: epoch, optimizer",
        ),
        ({}, "its keys are: .nothing"),
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

    model, found, _ = judged("centre")
    assert found["centre"].clean > 0.8
    assert found["centre"] == accuracy_of(answers(model, images, (0.0, 0.1), CPU))
    for wrong in ("dataset", "none"):
        with pytest.raises(
            RefusedError,
            match=f"'{wrong}' this cnn classifies .*; with 'centre' 9?.*Take normalisation 'centre'",
        ):
            judged(wrong)
        assert judged(wrong, anyway=True)[1][wrong].best < found["centre"].best
    # Classes in another order: no normalisation helps.
    weights.state_dict["fc.weight"] = weights.state_dict["fc.weight"].roll(1, 0)
    weights.state_dict["fc.bias"] = weights.state_dict["fc.bias"].roll(1, 0)
    with pytest.raises(
        RefusedError,
        match="at least 28% of the clean or of the noisy ones is required, and the other normalisations do no better",
    ):
        judged("centre")
    judged("centre", anyway=True)


def test_an_accuracy_that_the_file_states_is_asked_for() -> None:
    images, state = digits()
    weights = read_from({"net": state, "acc": 96.5})
    assert weights.claim == ("acc", 0.965)
    arguments = ("cnn", {"width": 4}, "centre", shifted(2.0), images, 0.1, CPU)
    measured = judge(weights, *arguments)[1]["centre"]
    swapped = torch.tensor([1, 0, *range(2, 10)])  # two classes
    worse = {key: value[swapped] if key.startswith("fc.") else value for key, value in state.items()}
    spoilt = read_from({"state_dict": worse, "best_prec1": torch.tensor(0.965)})
    with pytest.raises(RefusedError, match=r"the file claims best_prec1 = 96\.5%, and no other"):
        judge(spoilt, *arguments)
    assert measured.clean > judge(spoilt, *arguments, anyway=True)[1]["centre"].clean + 0.1


def test_the_layout_of_padding_shortcuts_is_shown_imagenets_normalisation() -> None:
    """As pytorch_resnet_cifar10 publishes its ResNets: no weights in a shortcut, `linear` at the end."""
    torch.manual_seed(0)
    made = build_model("resnet20", {"shortcut": "padding"}, dataset=dataset("cifar10"), shape=CIFAR)[1].eval()
    assert sum(value.numel() for value in made.parameters()) == 269_722  # the paper's 0.27 million
    stored = {
        "best_prec1": 91.73,
        "state_dict": OrderedDict((kuangliu(key), value) for key, value in prefixed("module.", made).items()),
    }
    weights = read_from(stored)
    assert (weights.normalisation, weights.claim) == ("imagenet", ("best_prec1", pytest.approx(0.9173)))
    name, parameters = recognise(weights, dataset("cifar10"), CIFAR)
    assert (name, parameters) == ("resnet20", {"shortcut": "padding"})
    x = torch.rand(2, 3, 32, 32)
    values = [torch.tensor(one)[:, None, None] for one in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))]
    model = assemble(weights, name, parameters, "imagenet", dataset("cifar10"), CIFAR)
    torch.testing.assert_close(model(x), made((x - values[0]) / values[1]), atol=1e-5, rtol=1e-5)
    numbers = "0.485,0.456,0.406/0.229,0.224,0.225"
    told = assemble(weights, name, parameters, numbers, dataset("cifar10"), CIFAR)
    assert torch.equal(told(x), model(x))
    # The one shape with projections, the other without: neither is taken for the other.
    assert recognise(read_from(prefixed("1.")), dataset("cifar10"), CIFAR) == ("resnet20", {})


def public(*layers: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(*layers).eval()


def test_plain_networks_are_recognised_by_their_numbered_layers() -> None:
    mnist = DataShape(1, 28, 10, {"train": 60_000, "test": 10_000})
    relu, flat = nn.ReLU, nn.Flatten
    conv, linear = nn.Conv2d, nn.Linear
    two = public(
        conv(1, 3, 3, padding=1),
        relu(),
        conv(3, 4, 4, 2, 1),
        relu(),
        flat(),
        linear(784, 9),
        relu(),
        linear(9, 10),
    )
    dense = public(flat(), linear(784, 8), relu(), linear(8, 10))
    unflat = public(linear(784, 8), relu(), linear(8, 6), relu(), linear(6, 10))
    x = torch.rand(2, 1, 28, 28)
    cases: list[tuple[nn.Module, Any, str, dict[str, Any]]] = [
        (two, [two.state_dict()], "convolutions", {"convolutions": [[3, 3, 1, 1], [4, 4, 2, 1]], "widths": [9]}),
        (dense, {"state_dict": [dense.state_dict()]}, "mlp", {"widths": [8]}),
        (unflat, {f"module.{key}": value for key, value in unflat.state_dict().items()}, "mlp", {"widths": [8, 6]}),
    ]  # fmt: skip
    for made, stored, name, parameters in cases:
        weights = read_from({"state_dict": stored} if isinstance(stored, list) else stored)
        assert recognise(weights, dataset("mnist"), mnist) == (name, parameters)
        model = assemble(weights, name, parameters, "none", dataset("mnist"), mnist)
        assert torch.allclose(model(x), made(x.flatten(1) if made is unflat else x), atol=1e-5)
        assert assumptions(name, parameters, weights, mnist)[0].startswith(
            "a ReLU after each layer but the last"
        )
    # Strides that the sizes leave open are said, and can be told otherwise.
    five = read_from(
        public(conv(1, 4, 5, 2, 2), relu(), conv(4, 8, 5, 2, 2), relu(), flat(), linear(392, 10)).state_dict()
    )
    name, parameters = recognise(five, dataset("mnist"), mnist)
    assert parameters["convolutions"] == [[4, 5, 2, 2], [8, 5, 2, 2]]
    other = {"convolutions": [[4, 5, 2, 1], [8, 5, 2, 2]]}
    assert recognise(five, dataset("mnist"), mnist, name, other)[1]["convolutions"] == other["convolutions"]
    # Pooling leaves a gap in the numbers, and names tell nothing of it: neither is taken for a plain network.
    pooled = public(conv(1, 4, 3, padding=1), relu(), nn.MaxPool2d(2), flat(), linear(784, 10))
    named = {"conv1.weight": torch.zeros(4, 1, 4, 4), "conv1.bias": torch.zeros(4), "fc.weight": torch.zeros(10, 784), "fc.bias": torch.zeros(10)}  # fmt: skip
    for stored in (pooled.state_dict(), named):
        with pytest.raises(InputError, match="fit none of the known architectures"):
            recognise(read_from(stored), dataset("mnist"), mnist)


def test_lenet_has_the_published_names() -> None:
    mnist = DataShape(1, 28, 10, {"train": 60_000, "test": 10_000})
    made = build_model("lenet", {}, dataset=dataset("mnist"), shape=mnist)
    shapes = {key: tuple(value.shape) for key, value in made.state_dict().items() if key.endswith("weight")}
    assert shapes == {
        "1.conv1.weight": (20, 1, 5, 5), "1.conv2.weight": (50, 20, 5, 5), "1.fc1.weight": (500, 800), "1.fc2.weight": (10, 500),
    }  # fmt: skip
    assert recognise(read_from(made.state_dict()), dataset("mnist"), mnist) == ("lenet", {})
    # PyTorch's own example for MNIST, which half of the world's checkpoints of it come from.
    small = build_model("lenet", {"widths": [10, 20, 50]}, dataset=dataset("mnist"), shape=mnist)
    assert recognise(read_from(small.state_dict()), dataset("mnist"), mnist) == (
        "lenet",
        {"widths": [10, 20, 50]},
    )


def test_a_cascade_is_refused_with_the_way_to_take_its_first_network(tmp_path: Path) -> None:
    one = public(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 10)).state_dict()
    file = tmp_path / "cascade.pth"
    torch.save({"state_dict": [one, one], "err": 0.3}, file)
    with pytest.raises(InputError, match="holds 2 networks under 'state_dict', a cascade") as caught:
        read_weights(file)
    command = str(caught.value).splitlines()[-1].replace("python", sys.executable, 1)
    assert subprocess.run(command, shell=True, cwd=tmp_path).returncode == 0
    assert list(read_weights(tmp_path / "cascade.first.pt").state_dict) == [
        "1.weight",
        "1.bias",
        "3.weight",
        "3.bias",
    ]


def test_a_normalisation_is_a_name_or_numbers() -> None:
    for wrong, said in (
        ("center", "Did you mean 'centre'"),
        ("0.5/x", "isn't mean/standard deviation"),
        ("0.5,0.5/0.5", "as many finite means"),
        ("0.5/0", "above 0"),
        ("0.5/nan", "finite"),
    ):
        with pytest.raises(InputError, match=said):
            normalisation(wrong)
    assert normalisation("0.5/0.25") == "0.5/0.25"
    grey = DataShape(1, 28, 10, {"train": 60_000, "test": 10_000})
    with pytest.raises(InputError, match="has 3 channels; images of mnist have 1"):
        assemble(read_from(prefixed("1.")), "resnet20", {}, "imagenet", dataset("mnist"), grey)
    # Those of another number of channels aren't tried, nor the same values twice: MNIST's own leave images as they are.
    assert candidates(dataset("mnist"), grey, "none") == ["none", "half", "mnist"]


def test_the_threshold_lies_between_chance_and_every_useful_model() -> None:
    assert least(10) == pytest.approx(0.28)
    assert least(2) == pytest.approx(0.6)
    assert least(1000) == pytest.approx(
        0.2, abs=0.001
    )  # ResNet-50 of Cohen 2019 at sigma = 1: 44 % under noise
